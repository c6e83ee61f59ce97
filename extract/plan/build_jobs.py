"""From an `ExtractConfig` to jobs: builds the encoders and lists the features that each of them gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from emofuse.common.errors import UsageError
from emofuse.common.problems import Problems
from emofuse.datasets.registry import CORPORA
from emofuse.extract.audio.augmentation import Augmentation, augmentations
from emofuse.extract.audio.scan import corpus_arguments
from emofuse.extract.encoders.base import Encoder, EncoderOptions
from emofuse.extract.encoders.registry import ENCODERS
from emofuse.extract.plan.config import ExtractConfig
from emofuse.extract.plan.finetuned_weights import checkpoints
from emofuse.extract.plan.job import EncoderRecipe, FeatureJob
from emofuse.extract.plan.pretraining_overlap import pretraining_overlap
from emofuse.extract.plan.view_encoders import build_encoders
from emofuse.extract.plan.views import FRAMES, parse_views, view_name
from emofuse.manifests.schema import Manifest
from emofuse.store.core.augmented import copy_name
from emofuse.store.core.fitted_on import combine_fitted_on, parse_fitted_on
from emofuse.store.core.spec import DTYPES


def require_modalities(config: ExtractConfig, manifest: Manifest, *, recognised: bool) -> None:
    """Refuse an encoder whose modality the corpus does not have.

    Args:
        config: Names the encoders.
        manifest: The corpus.
        recognised: Whether missing texts are transcribed.

    Raises:
        UsageError: Names the missing modality, and what to do.
    """
    for encoder in config.encoders:
        modality = ENCODERS[encoder].modality
        if manifest.has(modality) or (modality == "text" and recognised):
            continue
        hint = ""
        if modality == "text" and "transcripts" in CORPORA[config.dataset].options:
            hint = "; the release has no transcripts: pass --transcripts CSV (columns id,text)"
        if modality == "text" and manifest.has("audio"):
            hint += f"{' or' if hint else ';'} transcribe them: --transcribe openai/whisper-small"
        raise UsageError(f"{config.dataset} has no {modality} here, which {encoder} needs{hint}")


def build_jobs(
    config: ExtractConfig, manifest: Manifest, root: Path, *, device: str, recogniser: str | None
) -> list[FeatureJob]:
    """Build every encoder, and a job for each of its features; no clip is scanned yet.

    Args:
        config: What to extract.
        manifest: The corpus as it was read.
        root: The folder that audio paths are relative to.
        device: Where the encoders compute.
        recogniser: What recognised texts come from, if there are any.

    Raises:
        UsageError, DataError: As the encoders do; a message names every encoder that cannot be built.
    """
    # Among several encoders, weights, layers and precision concern the pretrained ones; alone, the others refuse them.
    any_pretrained = any(ENCODERS[encoder].pretrained for encoder in config.encoders)
    copies = augmentations(config.augment, config.copies, config.seed)
    jobs, views = list[FeatureJob](), parse_views(config.views)
    problems = Problems()
    for encoder in config.encoders:
        with problems.collecting():
            takes_options = ENCODERS[encoder].pretrained or not any_pretrained
            for options, feature in _encoder_options(config, encoder, device, takes_options):
                recipe = EncoderRecipe(encoder=encoder, options=options, views=views)
                encoders = build_encoders(recipe)
                provenance = _provenance(config, encoders.built, root, options.window, takes_options)
                plain = [
                    FeatureJob(
                        store=config.store_path,
                        manifest=manifest,
                        root=root,
                        clips={},
                        encoder=encoders.shown(view),
                        shared_encoder=encoders.computing(view),
                        recipe=recipe,
                        feature=view_name(feature, view),
                        view=view,
                        dtype=DTYPES[ENCODERS[encoder].stored_as if config.dtype == "auto" else config.dtype],
                        device=device,
                        channel=config.channel,
                        no_text=config.no_text,
                        recogniser=recogniser,
                        provenance=provenance,
                    )
                    for view in views
                ]
                of_copies = copies if encoders.built.modality == "audio" else []
                jobs += [*plain, *(_job_of_copy(job, config, copy) for copy in of_copies for job in plain)]
    problems.raise_all()
    return jobs


def _job_of_copy(job: FeatureJob, config: ExtractConfig, copy: Augmentation) -> FeatureJob:
    """The job that gives an augmented copy of the feature of `job`."""
    options = [*job.provenance["encoder_options"], "--augment", copy.option, "--copies", str(config.copies)]
    return replace(
        job,
        feature=copy_name(job.feature, copy.copy),
        augmentation=copy,
        provenance={**job.provenance, "encoder_options": [*options, "--seed", str(copy.seed)]},
    )


def _encoder_options(
    config: ExtractConfig, encoder: str, device: str, takes_options: bool
) -> Sequence[tuple[EncoderOptions, str]]:
    """An encoder's options and the name of its feature; of a `finetune` run those of every fold."""
    window = config.window if config.window in ENCODERS[encoder].windows else None
    default_name = ENCODERS[encoder].feature + (f"-{window}" if window else "")
    options = EncoderOptions(corpus=config.dataset, device=device, window=window)
    if takes_options:
        precision = "fp32" if config.precision == "auto" else config.precision
        options = replace(
            options, weights=config.weights, layers=config.layers, precision=precision, compile=config.compile
        )
    if folds := checkpoints(options.weights, encoder, config.dataset):
        return [(replace(options, weights=str(c.folder)), c.feature(default_name, config.name)) for c in folds]
    return [(options, config.name or default_name)]


def _provenance(
    config: ExtractConfig, encoder: Encoder, root: Path, window: str | None, takes_options: bool
) -> dict[str, Any]:
    """How the command was called, and what its user declares about the weights."""
    arguments = []
    if takes_options and config.weights:
        arguments += ["--weights", config.weights]
    if takes_options and config.layers != "last":
        arguments += ["--layers", config.layers]
    if window:
        arguments += ["--window", window]
    if config.views != FRAMES:
        arguments += ["--views", config.views]
    if config.channel != "mean" and (encoder.modality == "audio" or config.transcribe):
        arguments += ["--channel", config.channel]
    provenance: dict[str, Any] = {
        "corpus_options": corpus_arguments(root, config.reader_options, config.transcribe, config.language),
        "encoder_options": arguments,
    }
    if takes_options and config.fitted_on:
        provenance["fitted_on"] = combine_fitted_on(
            encoder.provenance()["fitted_on"], parse_fitted_on(config.fitted_on)
        )
    return provenance


def with_pretraining_overlap(job: FeatureJob, weights: str | None) -> FeatureJob:
    """A scanned job that records which utterances of its corpus the weights have seen in pre-training."""
    if "--weights" not in job.provenance["encoder_options"]:
        return job
    recorded = {**job.encoder.provenance(), **job.provenance}["fitted_on"]
    overlap = [entry for entry in pretraining_overlap(weights, job.manifest) if entry not in recorded]
    if not overlap:
        return job
    return replace(job, provenance={**job.provenance, "fitted_on": [*recorded, *overlap]})
