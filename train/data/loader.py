"""From a plan to the features in memory; of a per-fold feature, only that of one fold at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from emofuse.common.output.console import Say, format_size, printable
from emofuse.common.output.verbosity import stage
from emofuse.common.system.machine import free_memory
from emofuse.manifests.folds.cross_validation import Fold
from emofuse.store import Feature
from emofuse.train.data.augmented import CopyBuffers
from emofuse.train.data.batches import TaskData, truth_tensor
from emofuse.train.data.ragged import RaggedModality, can_be_mapped, verify_values
from emofuse.train.data.read_modality import Readable, modality_bytes, read_modality
from emofuse.train.data.speaker_statistics import standardised_by_speaker
from emofuse.train.models.config import longest_input
from emofuse.train.resolve.features.combined_feature import CombinedFeature
from emofuse.train.resolve.features.joined_store import AnyFeature
from emofuse.train.resolve.features.per_fold_feature import PerFoldFeature
from emofuse.train.resolve.fit_plan import FitPlan

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
        self._labels = truth_tensor(plan.truth).to(plan.device)
        self._loaded: dict[str, tuple[str, RaggedModality]] = {}
        """Modality, or number of an augmented copy -> the name of the loaded feature and its values."""

    def task_data(self, fold: Fold) -> TaskData:
        """What a fold trains, validates and tests on; folds share what is the same for them."""
        modalities = {m: self._buffer(m, feature, fold) for m, feature in self.plan.features.items()}
        return TaskData(
            modalities=modalities,
            labels=self._labels,
            standardised=self.plan.standardised,
            dialogues=self.plan.dialogues,
        )

    def copies(self, fold: Fold) -> list[CopyBuffers]:
        """The augmented copies of the plan, for a fold's training side; folds share what is the same for them."""
        found = []
        for number, copy in enumerate(self.plan.copies, 1):
            ids = set(self._ids_of(_of_fold(copy, fold)))
            utterances = np.flatnonzero([id in ids for id in self._ids])
            found.append(CopyBuffers(utterances=utterances, audio=self._buffer(f"copy {number}", copy, fold)))
        return found

    def verify(self, verified: set[Any]) -> None:
        """Read the features that will be mapped once, to find damage.

        Args:
            verified: What other loaders have read already; what this one reads is added.

        Raises:
            DataError: Values are damaged or not finite.
        """
        for _, feature in self._stored_features():
            mapped = self._mappable(feature)
            if mapped is not None:
                if self.plan.device.type == "cpu":  # only the process that trains on a GPU may open it
                    self._report_if_larger(mapped)
                ids = self._ids_of(feature)
                key = mapped.name, mapped.path, hash(tuple(ids))
                if key not in verified:
                    with stage(f"checking {printable(mapped.name)}"):
                        verify_values(mapped, ids)
                    verified.add(key)

    def unshared_bytes(self) -> int:
        """Bytes that each of several processes reads into its own memory: features that cannot be mapped."""
        by_key: dict[str, int] = {}
        for key, feature in self._stored_features():
            if self._mappable(feature) is None:
                by_key[key] = max(by_key.get(key, 0), self._bytes(feature))
        return sum(by_key.values())

    def _mappable(self, feature: Readable) -> Feature | None:
        """The stored feature whose values the model reads as the file has them; None where there is none."""
        members = feature.members if isinstance(feature, CombinedFeature) else (feature,)
        if len(members) > 1 or feature.modality in self.plan.speaker_standardised:
            return None
        return members[0] if can_be_mapped(members[0], self.plan.spec.pool) else None

    def _stored_features(self) -> Iterator[tuple[str, Readable]]:
        """What the features and copies of the plan consist of, each with its key in `_loaded`; of a per-fold feature
        that of each fold."""
        copies = {f"copy {number}": copy for number, copy in enumerate(self.plan.copies, 1)}
        for key, feature in {**self.plan.features, **copies}.items():
            folds = self.plan.folds if isinstance(feature, PerFoldFeature) else self.plan.folds[:1]
            yield from ((key, _of_fold(feature, fold)) for fold in folds)

    def _ids_of(self, feature: Readable) -> list[str]:
        """The utterances of the task that are read: all of them, or of an augmented copy those that it has."""
        usable = feature.position.keys() - set(feature.stale)
        return [id for id in self._ids if id in usable]

    def _buffer(self, key: str, feature: AnyFeature, fold: Fold) -> RaggedModality:
        stored = _of_fold(feature, fold)
        if key not in self._loaded or self._loaded[key][0] != stored.name:
            # Drop the other fold's feature first: memory may not hold two.
            self._loaded.pop(key, None)
            with stage(f"reading {printable(stored.name)}"):
                self._loaded[key] = stored.name, self._read(stored)
        return self._loaded[key][1]

    def _read(self, feature: Readable) -> RaggedModality:
        device, pool, limit = self.plan.device, self.plan.spec.pool, self._longest(feature)
        ids = self._ids_of(feature)
        if feature.modality in self.plan.speaker_standardised:
            buffer = read_modality(feature, ids, device, limit, pool)
            speakers = [str(u.speaker) for u in self.plan.utterances]
            return standardised_by_speaker(buffer, speakers, self.plan.speaker_clips, feature, limit, pool)
        mapped = self._mappable(feature)
        if mapped is not None and (
            # `verify` has read and reported it
            (self.shared and device.type == "cpu") or self._report_if_larger(mapped)
        ):
            if not self.shared:
                verify_values(mapped, ids)
            buffer = RaggedModality.memory_map(mapped, ids, device, limit)
            return buffer.flat() if isinstance(feature, CombinedFeature) else buffer
        return read_modality(feature, ids, device, limit, pool)

    def _longest(self, feature: Readable) -> int | None:
        return longest_input(self.plan.settings, feature.modality)

    def _bytes(self, feature: Readable) -> int:
        return modality_bytes(feature, self._ids_of(feature), self._longest(feature), self.plan.spec.pool)

    def _report_if_larger(self, feature: Feature) -> bool:
        """Whether a feature is too large for the free memory, and so stays in its file; reports it if it is."""
        needed = self._bytes(feature)
        free = _free_bytes(self.plan.device)
        if needed > MEMORY_SHARE * free:
            self._say(
                f"{feature.modality} feature {feature.name}, {format_size(needed)}, stays in {feature.path}, "
                f"{MAPPED}: {format_size(int(free))} are free"
            )
        return needed > MEMORY_SHARE * free


def _of_fold(feature: AnyFeature, fold: Fold) -> Readable:
    """The feature itself; of a per-fold feature that of the fold."""
    return feature.for_fold(fold) if isinstance(feature, PerFoldFeature) else feature


def _free_bytes(device: torch.device) -> float:
    return free_memory() if device.type == "cpu" else float(torch.cuda.mem_get_info(device)[0])
