"""What a run predicts under one seed, and the sums that its scores follow from.

Shapes: n utterances, S seeds, C classes, G units, R resamples or permutations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

from emofuse.manifests.metrics.scores import Labels, scores_of
from emofuse.manifests.metrics.unit_counts import unit_cells
from emofuse.manifests.targets.scoring import extra_scores, sums_by_unit
from emofuse.manifests.targets.target import Target

Scores = dict[str, NDArray[np.float64]]
"""Metric -> a value [R] for each weighting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedPredictions:
    """What a run predicts under one seed, and the scores that follow from it."""

    labels: Labels
    """True class numbers [n]; zeros where there are no classes."""
    predicted: Labels
    """[n]; `NO_PREDICTION` counts as wrong."""
    classes: int
    """C; 0 where the target has not one class an utterance."""
    target: Target | None = None
    """Whose `terms` these are."""
    terms: NDArray[np.float64] | None = None
    """[n, M], of which the scores of the target's kind are made (`scoring.statistics`); None of one class."""

    def unit_sums(self, units: NDArray[np.int64], count: int) -> Any:
        """What the scores of each unit follow from: sparse [G, C * (C + 1) + M], the confusion matrix, then terms."""
        parts = [unit_cells(self.labels, self.predicted, self.classes, units, count)] if self.classes else []
        parts += [csr_array(sums_by_unit(self.terms, units, count))] if self.terms is not None else []
        return parts[0] if len(parts) == 1 else csr_array(hstack(parts))

    def scores(self, sums: NDArray[np.float64]) -> Scores:
        """Scores [R] from sums [R, C * (C + 1) + M]; sums of counts are exact in float64."""
        cells, found = self.classes * (self.classes + 1), Scores()
        if self.classes:
            found |= scores_of(sums[:, :cells].reshape(len(sums), self.classes, self.classes + 1).astype(np.int64))
        return found if self.target is None else found | extra_scores(self.target, sums[:, cells:])


def of_classes(labels: Labels, predicted: Labels, classes: int) -> list[SeedPredictions]:
    """The predictions [S, n] of a target of one class, for labels [n]."""
    return [SeedPredictions(labels=labels, predicted=seed, classes=classes) for seed in predicted]
