"""From a plan to what lies in memory: every feature once, or, of a feature in parts, the one part of a fold."""

from __future__ import annotations

import torch

from emofuse.manifests.folds import Fold
from emofuse.train.data import Corpus, Resident
from emofuse.train.models.config import SequenceConfig
from emofuse.train.parts import PartedFeature
from emofuse.train.plan import Plan


class Loader:
    """Reads the features of a plan into the memory of its device, when a fold needs them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._ids = [u.id for u in plan.utterances]
        self._labels = torch.from_numpy(plan.labels).to(plan.device)
        self._held: dict[str, tuple[str, Resident]] = {}

    def corpus(self, fold: Fold) -> Corpus:
        """What a fold trains, validates and tests on; folds share whatever is the same for them."""
        sides = {m: self._side(m, fold) for m in self.plan.features}
        return Corpus(modalities=sides, labels=self._labels, standardised=self.plan.standardised)

    def _side(self, modality: str, fold: Fold) -> Resident:
        feature, settings = self.plan.features[modality], self.plan.settings
        if isinstance(feature, PartedFeature):
            feature = feature.part(fold)
        if modality not in self._held or self._held[modality][0] != feature.name:
            # First: two parts never lie in memory together.
            self._held.pop(modality, None)
            limit = None
            if isinstance(settings, SequenceConfig):
                limit = settings.max_frames if modality == "audio" else settings.max_words
            loaded = Resident.load(feature, self._ids, self.plan.device, limit, self.plan.spec.pool)
            self._held[modality] = feature.name, loaded
        return self._held[modality][1]
