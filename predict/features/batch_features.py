"""Runs the encoders of a run over some clips at a time, and hands their features to the models.

Each batch goes through the loop of `extract` into a small temporary store, from which the loader of `fit` reads it: the
values are those that a corpus would get, rounded as the run's store rounds them, and nothing is kept in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import torch

from emofuse.extract.asr.recogniser import Recogniser
from emofuse.extract.asr.transcribe import Transcripts
from emofuse.extract.audio.clips import Clip
from emofuse.extract.encoding.loop import run_jobs
from emofuse.extract.plan.budget import with_budgets
from emofuse.extract.plan.compute_precision import with_precision_sample
from emofuse.extract.plan.job import FeatureJob
from emofuse.manifests.schema import Excluded, Manifest, Modality, Utterance
from emofuse.predict.features.run_features import member_key
from emofuse.predict.recordings.inputs import ROOT, manifest_of
from emofuse.store import Feature, FeatureStore
from emofuse.train.data.batches import TaskData
from emofuse.train.data.ragged import Pool, RaggedModality
from emofuse.train.data.read_modality import read_modality
from emofuse.train.models.config import longest_input
from emofuse.train.resolve.features.combined_feature import CombinedFeature
from emofuse.train.runs.trained_models import TrainedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFeatures:
    """The features of a batch of utterances, in an open store."""

    features: Mapping[str, Feature]
    """Key of a feature of the run -> its values; a modality that no utterance has is missing."""
    keys: tuple[str, ...]
    """Of all features of the run."""
    texts: Mapping[str, Utterance]
    """Utterance id -> the utterance with its recognised text."""
    excluded: tuple[Excluded, ...]
    """Why an utterance has no value of a modality, where its audio or text is there."""

    def available(self, id: str) -> tuple[Modality, ...]:
        """The modalities that an utterance has features of."""
        of_modality = {m: [key for key in self.keys if key.startswith(m)] for m in get_args(Modality)}
        return tuple(m for m, keys in of_modality.items() if keys and all(self._has(key, id) for key in keys))

    def _has(self, key: str, id: str) -> bool:
        return key in self.features and id in self.features[key].position


class UtteranceGroup:
    """Utterances that have the same modalities; what several models read of them is loaded once.

    Args:
        batch: Their features.
        ids: The utterances.
        modalities: What they have.
        pool: How the models pool frames.
        device: Where the models compute.
    """

    def __init__(
        self, batch: BatchFeatures, ids: Sequence[str], modalities: Sequence[str], pool: Pool, device: torch.device
    ) -> None:
        self._batch, self.ids, self._modalities, self._pool = batch, ids, modalities, pool
        self._labels = torch.zeros(len(ids), dtype=torch.int64, device=device)  # only a loss would need them
        self._loaded: dict[str, RaggedModality] = {}
        """Key of a feature of the run -> its values, cut as the models of the run cut them."""

    def data_for(self, model: TrainedModel) -> TaskData:
        """What a model reads; per-fold features are those of its fold."""
        buffers = {modality: self._buffer(modality, model) for modality in self._modalities}
        return TaskData(modalities=buffers, labels=self._labels)

    def _buffer(self, modality: str, model: TrainedModel) -> RaggedModality:
        features, key = self._batch.features, f"{modality}@{model.fold}"
        key = key if key in features else modality
        if key not in self._loaded:
            limit, front = longest_input(model.recipe.settings, modality), model.recipe.fronts.get(modality)
            keys = [member_key(modality, i) for i in range(len(front.parts))] if front else []
            members = [features[k] for k in (keys if len(keys) > 1 else [key])]
            feature = CombinedFeature(members) if front else members[0]
            self._loaded[key] = read_modality(feature, self.ids, self._labels.device, limit, self._pool)
        return self._loaded[key]


class BatchExtractor:
    """Extracts the features of a run from batches of utterances.

    Args:
        jobs: Of `build_run_encoders`.
        recogniser: Writes the texts of utterances without one.
        budget: Seconds of audio, or tokens, of an encoder's batch; None decides it at the first batch.
        folder: A temporary folder.
    """

    def __init__(
        self, jobs: Sequence[FeatureJob], recogniser: Recogniser | None, budget: float | None, folder: Path
    ) -> None:
        self._jobs, self._recogniser, self._budget = tuple(jobs), recogniser, budget
        self._store = folder / "batch.h5"
        self._started: dict[str, FeatureJob] = {}
        """Feature -> its job with what the first batch has decided: the budget, and the sample of a precision."""

    @contextmanager
    def extract(self, utterances: Sequence[Utterance], clips: Mapping[str, Clip]) -> Iterator[BatchFeatures]:
        """The features of scanned utterances, as long as the context is open.

        Args:
            utterances: With the length and digest of their audio.
            clips: Utterance id -> its scanned audio.

        Raises:
            UsageError: Not even one utterance fits in memory.
        """
        manifest = manifest_of(utterances)
        excluded: list[Excluded] = []
        if self._recogniser is not None:
            manifest, excluded = self._transcribed(manifest)
        jobs = [
            replace(job, store=self._store, manifest=manifest, clips=clips if job.encoder.modality == "audio" else {})
            for job in self._jobs
            if manifest.has(job.encoder.modality)
        ]
        texts, keys = {u.id: u for u in manifest.utterances}, tuple(job.feature for job in self._jobs)
        if not jobs:
            yield BatchFeatures(features={}, keys=keys, texts=texts, excluded=tuple(excluded))
            return
        try:
            for outcome in run_jobs(self._with_decisions(jobs), quiet=True):
                excluded += outcome.excluded
            with FeatureStore(self._store) as store:
                features = {job.feature: store[job.feature] for job in jobs if job.feature in store}
                yield BatchFeatures(features=features, keys=keys, texts=texts, excluded=tuple(excluded))
        finally:
            self._store.unlink(missing_ok=True)

    def _transcribed(self, manifest: Manifest) -> tuple[Manifest, list[Excluded]]:
        transcripts = Transcripts(store=self._store, recogniser=self._recogniser)
        if not transcripts.without_text(manifest):
            return manifest, []
        manifest, wordless, _ = transcripts.transcribe(manifest, ROOT, quiet=True)
        transcripts.delete_side_file()
        return manifest, wordless

    def _with_decisions(self, jobs: Sequence[FeatureJob]) -> list[FeatureJob]:
        new = [job for job in jobs if job.feature not in self._started]
        for job in with_precision_sample(with_budgets(new, self._budget)):
            self._started[job.feature] = job
        return [
            replace(
                job,
                budget=self._started[job.feature].budget,
                precision_sample=self._started[job.feature].precision_sample,
            )
            for job in jobs
        ]
