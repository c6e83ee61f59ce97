"""Confusion matrices of the units that a bootstrap draws, and of many resamples of them, in bounded memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ENTRIES = 4_000_000
"""Weights of units that are drawn or multiplied at a time."""


def unit_cells(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], classes: int, units: NDArray[np.int64], count: int
) -> Any:
    """The confusion matrix of each unit, flat: sparse [count, C * (C + 1)]; the last column is for no prediction.

    Args:
        labels: True class numbers [n].
        predictions: Predicted class numbers [n]; negative without a prediction.
        classes: C.
        units: The unit of each utterance [n], numbers from 0.
        count: The number of units.
    """
    from scipy.sparse import csr_array

    columns = np.where(predictions < 0, classes, predictions)
    cells = (units, labels * (classes + 1) + columns)
    return csr_array((np.ones(len(labels)), cells), shape=(count, classes * (classes + 1)))  # equal cells are added


def weighted_sums(weights: NDArray[Any], cells: Any) -> NDArray[np.float64]:
    """`weights` [R, units] times sparse `cells` [units, K]: [R, K].

    Counts are exact in float64, whose products are accelerated, unlike those of whole numbers.
    """
    rows = rows_at_a_time(weights.shape[1])
    return np.concatenate([weights[i : i + rows].astype(np.float64) @ cells for i in range(0, len(weights), rows)])


def rows_at_a_time(units: int) -> int:
    """How many rows of weights [R, units] have at most `ENTRIES` entries; at least 1."""
    return max(1, ENTRIES // max(1, units))
