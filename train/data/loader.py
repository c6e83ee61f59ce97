"""From a plan to the features in memory; of a per-fold feature, only that of one fold at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeGuard

import torch

from emofuse.common.console import Say, format_size
from emofuse.common.system.machine import free_memory
from emofuse.manifests.folds import Fold
from emofuse.store import Feature
from emofuse.train.data.batches import TaskData
from emofuse.train.data.ragged import RaggedModality, can_be_mapped, loaded_bytes, verify_values
from emofuse.train.data.speaker_statistics import standardised_by_speaker
from emofuse.train.models.config import longest_input
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.resolve.joined_store import JoinedFeature
from emofuse.train.resolve.per_fold_feature import PerFoldFeature

MAPPED = "mapped into memory"
"""Part of a message that `reproduce` repeats."""
MEMORY_SHARE = 0.7
"""The share of the free memory that features may take."""


class Loader:
    """Reads the features of a plan into the memory of its device, when a fold needs them.

    Args:
        shared: Several processes use the same features: those that can be mapped stay in the store's file and are
            mapped into memory, so that they are in memory once. Call `verify` first, in one process.
        say: Reports features that are larger than the memory.
    """

    def __init__(self, plan: FitPlan, *, shared: bool = False, say: Say = lambda line: None) -> None:
        self.plan, self.shared, self._say = plan, shared, say
        self._ids = [u.id for u in plan.utterances]
        self._labels = torch.from_numpy(plan.labels).to(plan.device)
        self._loaded: dict[str, tuple[str, RaggedModality]] = {}
        """Modality -> the name of the loaded feature and its values."""

    def task_data(self, fold: Fold) -> TaskData:
        """What a fold trains, validates and tests on; folds share what is the same for them."""
        modalities = {m: self._buffer(m, fold) for m in self.plan.features}
        return TaskData(modalities=modalities, labels=self._labels, standardised=self.plan.standardised)

    def verify(self, verified: set[Any]) -> None:
        """Read the features that will be mapped once, to find damage.

        Args:
            verified: What other loaders have read already; what this one reads is added.

        Raises:
            DataError: Values are damaged or not finite.
        """
        for modality, feature in self._stored_features():
            if self._can_be_mapped(feature, modality):
                if self.plan.device.type == "cpu":  # only the process that trains on a GPU may open it
                    self._report_if_larger(modality, feature)
                key = feature.name, feature.path, hash(tuple(self._ids))
                if key not in verified:
                    verify_values(feature, self._ids)
                    verified.add(key)

    def unshared_bytes(self) -> int:
        """Bytes that each of several processes reads into its own memory: features that cannot be mapped."""
        by_modality: dict[str, int] = {}
        for modality, feature in self._stored_features():
            if not self._can_be_mapped(feature, modality):
                by_modality[modality] = max(by_modality.get(modality, 0), self._bytes(modality, feature))
        return sum(by_modality.values())

    def _can_be_mapped(self, feature: Feature | JoinedFeature, modality: str) -> TypeGuard[Feature]:
        """Whether the model reads the values of a feature as the file has them."""
        return modality not in self.plan.speaker_standardised and can_be_mapped(feature, self.plan.spec.pool)

    def _stored_features(self) -> Iterator[tuple[str, Feature | JoinedFeature]]:
        """Modality and feature; one of each fold for a per-fold feature."""
        for modality, feature in self.plan.features.items():
            if isinstance(feature, PerFoldFeature):
                yield from ((modality, feature.for_fold(fold)) for fold in self.plan.folds)
            else:
                yield modality, feature

    def _buffer(self, modality: str, fold: Fold) -> RaggedModality:
        feature = self.plan.features[modality]
        if isinstance(feature, PerFoldFeature):
            feature = feature.for_fold(fold)
        if modality not in self._loaded or self._loaded[modality][0] != feature.name:
            # Drop the other fold's feature first: memory may not hold two.
            self._loaded.pop(modality, None)
            self._loaded[modality] = feature.name, self._read(modality, feature)
        return self._loaded[modality][1]

    def _read(self, modality: str, feature: Feature | JoinedFeature) -> RaggedModality:
        device, pool, limit = self.plan.device, self.plan.spec.pool, longest_input(self.plan.settings, modality)
        if modality in self.plan.speaker_standardised:
            buffer = RaggedModality.load(feature, self._ids, device, limit, pool)
            speakers = [str(u.speaker) for u in self.plan.utterances]
            return standardised_by_speaker(buffer, speakers, self.plan.speaker_clips, feature, limit, pool)
        if can_be_mapped(feature, pool):
            if self.shared and device.type == "cpu":  # `verify` has read and reported it
                return RaggedModality.memory_map(feature, self._ids, device, limit)
            if self._report_if_larger(modality, feature):
                if not self.shared:
                    verify_values(feature, self._ids)
                return RaggedModality.memory_map(feature, self._ids, device, limit)
        return RaggedModality.load(feature, self._ids, device, limit, pool)

    def _bytes(self, modality: str, feature: Feature | JoinedFeature) -> int:
        return loaded_bytes(feature, self._ids, longest_input(self.plan.settings, modality), self.plan.spec.pool)

    def _report_if_larger(self, modality: str, feature: Feature) -> bool:
        """Whether a feature is too large for the free memory, and so stays in its file; reports it if it is."""
        needed = self._bytes(modality, feature)
        free = _free_bytes(self.plan.device)
        if needed > MEMORY_SHARE * free:
            self._say(
                f"{modality} feature {feature.name}, {format_size(needed)}, stays in {feature.path}, "
                f"{MAPPED}: {format_size(int(free))} are free"
            )
        return needed > MEMORY_SHARE * free


def _free_bytes(device: torch.device) -> float:
    return free_memory() if device.type == "cpu" else float(torch.cuda.mem_get_info(device)[0])
