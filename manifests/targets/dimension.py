"""Ratings on a scale, such as valence from 1 to 5, and the scores of predicted ratings.

- CCC, Lin's concordance correlation coefficient (Biometrics 1989, eq. 1), with variances over n:
  2 cov(x, y) / (var x + var y + (mean x - mean y)^2). It is 0 where both sides are constant.
- Pearson's correlation; 0 where a side is constant.
- MAE, the mean absolute error, in the units of the scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emofuse.manifests.schema import Utterance

STATISTICS = 7
"""How many sums the scores of one dimension follow from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """One dimension of emotion and its scale."""

    name: str
    low: float
    high: float
    field: str
    """A key of `Utterance.extra`."""

    def rating(self, utterance: Utterance) -> float | None:
        """The utterance's rating; None where there is none.

        Raises:
            ValueError: It is not a number.
        """
        value = utterance.extra.get(self.field)
        rating = float(value) if value is not None else math.nan
        return None if math.isnan(rating) else rating

    def is_rated(self, utterance: Utterance) -> bool:
        """Whether the utterance has a rating, also one that is not a number."""
        try:
            return self.rating(utterance) is not None
        except ValueError:
            return True

    def holds(self, rating: float) -> bool:
        """Whether a rating is on the scale."""
        return self.low <= rating <= self.high


def rating_statistics(truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the scores are sums of, [n, 7 D], from true and predicted ratings [n, D]: 1, x, y, xx, yy, xy, |x - y|."""
    parts = [np.ones_like(truth), truth, predicted, truth**2, predicted**2, truth * predicted, abs(truth - predicted)]
    return np.stack(parts, axis=2).reshape(len(truth), -1)


def rating_scores(sums: NDArray[np.float64], names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """`ccc`, `pearson` and `mae`, each the mean over the dimensions, and `ccc_NAME` and so on of each one, [R].

    Args:
        sums: Of `rating_statistics` over the utterances of each of R samples [R, 7 D].
        names: Of the dimensions [D].
    """
    n, x, y, xx, yy, xy, error = np.moveaxis(sums.reshape(len(sums), len(names), STATISTICS), 2, 0)
    n = np.maximum(n, 1)
    mean_x, mean_y = x / n, y / n
    # Rounding may leave a constant side a variance just above or below zero.
    var_x, var_y = (_positive(s / n - m**2, m) for s, m in ((xx, mean_x), (yy, mean_y)))
    covariance = np.where((var_x > 0) & (var_y > 0), xy / n - mean_x * mean_y, 0.0)
    found = {
        "ccc": _ratio(2 * covariance, var_x + var_y + (mean_x - mean_y) ** 2),
        "pearson": _ratio(covariance, np.sqrt(var_x * var_y)),
        "mae": error / n,
    }
    scores = {measure: values.mean(1) for measure, values in found.items()}
    return scores | {
        f"{measure}_{name}": values[:, k] for k, name in enumerate(names) for measure, values in found.items()
    }


def _positive(variance: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(variance > 1e-12 * (1 + mean**2), variance, 0.0)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
