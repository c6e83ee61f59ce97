"""From a plan to what lies in memory: every feature once, or, of a feature in parts, the one part of a fold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from emofuse.common.console import size
from emofuse.common.system.machine import free_bytes
from emofuse.manifests.folds import Fold
from emofuse.store import Feature
from emofuse.train.data.batches import TaskData
from emofuse.train.data.ragged import ModalityBuffer, mappable, resident_bytes, verify
from emofuse.train.models.config import SequenceConfig
from emofuse.train.resolve.joined_store import JoinedFeature
from emofuse.train.resolve.per_fold_feature import PerFoldFeature
from emofuse.train.resolve.plan import FitPlan

SHARE = 0.7
"""Of the free memory, what features may take."""


class Loader:
    """Reads the features of a plan into the memory of its device, when a fold needs them.

    Args:
        shared: Several processes have the same features: what can be is left in the store and mapped, so that it is in
            memory once. Somebody has called `verify`.
        say: Told of features that are larger than the memory.
    """

    def __init__(self, plan: FitPlan, *, shared: bool = False, say: Callable[[str], None] = lambda line: None) -> None:
        self.plan, self.shared, self._say = plan, shared, say
        self._ids = [u.id for u in plan.utterances]
        self._labels = torch.from_numpy(plan.labels).to(plan.device)
        self._held: dict[str, tuple[str, ModalityBuffer]] = {}

    def corpus(self, fold: Fold) -> TaskData:
        """What a fold trains, validates and tests on; folds share whatever is the same for them."""
        sides = {m: self._side(m, fold) for m in self.plan.features}
        return TaskData(modalities=sides, labels=self._labels, standardised=self.plan.standardised)

    def verify(self, done: set[Any]) -> None:
        """Read what will be mapped, once: `done` is what others have read already, and what this one has then.

        Raises:
            DataError: Values are damaged or not finite.
        """
        for modality, feature in self._features():
            if mappable(feature, self.plan.spec.pool):
                if self.plan.device.type == "cpu":  # a GPU is only touched by who trains on it
                    self._say_if_larger(modality, feature)
                which = feature.name, str(feature.path), hash(tuple(self._ids))
                if which not in done:
                    verify(feature, self._ids)
                    done.add(which)

    def own_bytes(self) -> int:
        """What each of several processes reads for itself, as nobody can map it; of a feature in parts one part."""
        own: dict[str, int] = {}
        for modality, feature in self._features():
            if not mappable(feature, self.plan.spec.pool):
                own[modality] = max(own.get(modality, 0), self._bytes(modality, feature))
        return sum(own.values())

    def _features(self) -> Iterator[tuple[str, Feature | JoinedFeature]]:
        for modality, feature in self.plan.features.items():
            if isinstance(feature, PerFoldFeature):
                yield from ((modality, feature.part(fold)) for fold in self.plan.folds)
            else:
                yield modality, feature

    def _side(self, modality: str, fold: Fold) -> ModalityBuffer:
        feature = self.plan.features[modality]
        if isinstance(feature, PerFoldFeature):
            feature = feature.part(fold)
        if modality not in self._held or self._held[modality][0] != feature.name:
            # First: two parts never lie in memory together.
            self._held.pop(modality, None)
            self._held[modality] = feature.name, self._read(modality, feature)
        return self._held[modality][1]

    def _read(self, modality: str, feature: Feature | JoinedFeature) -> ModalityBuffer:
        device, pool, limit = self.plan.device, self.plan.spec.pool, self._limit(modality)
        if mappable(feature, pool):
            if self.shared and device.type == "cpu":  # whoever called `verify` has said what there is to say
                return ModalityBuffer.mapped(feature, self._ids, device, limit)
            if self._say_if_larger(modality, feature):
                if not self.shared:
                    verify(feature, self._ids)
                return ModalityBuffer.mapped(feature, self._ids, device, limit)
        return ModalityBuffer.load(feature, self._ids, device, limit, pool)

    def _limit(self, modality: str) -> int | None:
        settings = self.plan.settings
        if not isinstance(settings, SequenceConfig):
            return None
        return settings.max_frames if modality == "audio" else settings.max_words

    def _bytes(self, modality: str, feature: Feature | JoinedFeature) -> int:
        return resident_bytes(feature, self._ids, self._limit(modality), self.plan.spec.pool)

    def _say_if_larger(self, modality: str, feature: Feature) -> bool:
        """Whether a feature is larger than the memory, and so stays where it is; said, if so."""
        device = self.plan.device
        needed = self._bytes(modality, feature)
        free = _free(device)
        if needed > SHARE * free:
            self._say(
                f"{modality} feature {feature.name}, {size(needed)}, stays in {feature.path}, mapped into memory: "
                f"{size(int(free))} are free"
            )
        return needed > SHARE * free


def _free(device: torch.device) -> float:
    return free_bytes() if device.type == "cpu" else float(torch.cuda.mem_get_info(device)[0])
