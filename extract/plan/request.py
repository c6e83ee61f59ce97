"""From the words of a command line to jobs: which encoders are built, and which features each of them leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emofuse.common.errors import UsageError
from emofuse.common.problems import Problems
from emofuse.datasets.registry import CORPORA
from emofuse.extract.encoders.base import Encoder, EncoderOptions, EncoderSpec
from emofuse.extract.encoders.registry import ENCODERS
from emofuse.extract.plan import views
from emofuse.extract.plan.finetuned import checkpoints
from emofuse.extract.plan.job import EncoderRecipe, FeatureJob
from emofuse.extract.plan.pretraining_overlap import pretraining_overlap
from emofuse.manifests.schema import Manifest
from emofuse.store.core.fitted_on import declared, parse_fitted_on
from emofuse.store.core.spec import DTYPES


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractRequest:
    """What a call of `extract` asks for."""

    dataset: str
    encoders: tuple[str, ...]
    name: str | None
    weights: str | None
    layers: str
    views: str
    precision: str
    compile: bool
    dtype: str
    fitted_on: str | None
    no_text: bool

    def check(self, problems: Problems) -> None:
        """Note every wrong word, before anything heavy is imported or read."""
        for registry, words in ((CORPORA, (self.dataset,)), (ENCODERS, self.encoders)):
            for word in words:
                with problems.noting():
                    registry[word]
        with problems.noting():
            views.read(self.views)
        if len(set(self.encoders)) < len(self.encoders):
            problems.note(f"an encoder is named twice: {', '.join(self.encoders)}")
        pretrained = [e for e in self.encoders if e in ENCODERS and ENCODERS[e].pretrained]
        for option, value, concerned in (("--name", self.name, self.encoders), ("--weights", self.weights, pretrained)):
            if value and len(concerned) > 1:
                problems.note(
                    f"{option} belongs to one encoder, not to {', '.join(concerned)}: run `extract` once for each"
                )

    @property
    def specs(self) -> dict[str, EncoderSpec]:
        """The encoders by name."""
        return {encoder: ENCODERS[encoder] for encoder in self.encoders}

    def need_modalities(self, manifest: Manifest, *, recognised: bool) -> None:
        """Refuse an encoder that finds nothing to read in the corpus.

        Raises:
            UsageError: Says what is lacking, and what may be done.
        """
        for encoder, spec in self.specs.items():
            if not manifest.has(spec.modality) and not (spec.modality == "text" and recognised):
                hint = ""
                if spec.modality == "text" and "transcripts" in CORPORA[self.dataset].options:
                    hint = "; the release has no transcripts: pass --transcripts CSV (columns id,text)"
                if spec.modality == "text" and manifest.has("audio"):
                    hint += f"{' or' if hint else ';'} have them recognised: --transcribe openai/whisper-small"
                raise UsageError(f"{self.dataset} has no {spec.modality} here, which {encoder} needs{hint}")

    def jobs(
        self,
        manifest: Manifest,
        root: Path,
        store: Path,
        device: str,
        corpus_options: Sequence[str],
        recogniser: str | None,
    ) -> list[FeatureJob]:
        """Every encoder built, and a job for each feature that it leaves; no clip has been looked at yet.

        Raises:
            UsageError, DataError: As the encoders do.
        """
        precision = "fp32" if self.precision == "auto" else self.precision
        plain = EncoderOptions(corpus=self.dataset, device=device)
        chosen = replace(plain, weights=self.weights, layers=self.layers, precision=precision, compile=self.compile)
        # Among several encoders, layers and precision concern those that have weights; alone, the others refuse them.
        some_pretrained = any(spec.pretrained for spec in self.specs.values())
        found = []
        for encoder, spec in self.specs.items():
            options = chosen if spec.pretrained or not some_pretrained else plain
            tuned = checkpoints(options.weights, encoder, self.dataset)
            wanted = [(replace(options, weights=str(t.folder)), t.feature(spec.feature, self.name)) for t in tuned]
            for each, feature in wanted or [(options, self.name or spec.feature)]:
                recipe = EncoderRecipe(encoder=encoder, options=each, every_layer=views.MEAN in views.read(self.views))
                built, source = build(recipe)
                for view in views.read(self.views):
                    found.append(
                        FeatureJob(
                            store=store,
                            manifest=manifest,
                            root=root,
                            clips={},
                            encoder=source if view == views.MEAN else built,
                            source=source,
                            recipe=recipe,
                            feature=views.name(feature, view),
                            view=view,
                            dtype=DTYPES[self.dtype],
                            device=device,
                            no_text=self.no_text,
                            recogniser=recogniser,
                            provenance=self._provenance(built, each is not plain, corpus_options),
                        )
                    )
        return found

    def _provenance(self, encoder: Encoder, concerned: bool, corpus_options: Sequence[str]) -> dict[str, Any]:
        stated = {}
        if concerned and self.fitted_on:
            stated = {"fitted_on": declared(encoder.provenance()["fitted_on"], parse_fitted_on(self.fitted_on))}
        options = [("--weights", self.weights or ""), ("--layers", "" if self.layers == "last" else self.layers)]
        given = [word for flag, value in options if value and concerned for word in (flag, value)]
        asked = [] if self.views == views.FRAMES else ["--views", self.views]
        return {"corpus_options": list(corpus_options), "encoder_options": [*given, *asked], **stated}

    def knowing(self, job: FeatureJob) -> FeatureJob:
        """The job, which knows what of its corpus the encoder's weights have heard without labels."""
        if "--weights" not in job.provenance["encoder_options"]:
            return job
        stated = {**job.encoder.provenance(), **job.provenance}["fitted_on"]
        also = [entry for entry in pretraining_overlap(self.weights, job.manifest) if entry not in stated]
        if not also:
            return job
        return replace(job, provenance={**job.provenance, "fitted_on": [*stated, *also]})


def build(recipe: EncoderRecipe) -> tuple[Encoder, Encoder]:
    """The encoder whose features are asked for, and the one that computes; they share their weights."""
    built = ENCODERS[recipe.encoder].build(recipe.options)
    return built, views.with_every_layer(built) if recipe.every_layer else built
