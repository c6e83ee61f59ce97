"""How a feature's values become colours: as they are, standardised by dimension, or each block of dimensions apart.

The values of one feature may differ by orders of magnitude between dimensions: deltas are much smaller than the bands
that they are differences of, and a few dimensions of a transformer have large constant offsets. On one scale for all,
most of such a picture has one colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from emofuse.common.charts.frames import FrameBlock, Frames
from emofuse.store.core.feature import Feature
from emofuse.store.inspect.show import UtteranceView

Scale = Literal["auto", "values", "dimensions"]
DEVIATIONS = "deviations from the dimension's mean"
"""The unit of standardised values."""
_DELTA_BLOCKS = ("bands", "deltas", "delta-deltas")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledBlock:
    """Neighbouring dimensions that share a colour scale."""

    values: NDArray[np.float32]
    """[T, D], standardised where `unit` says so."""
    first: int
    """The number of its first dimension."""
    name: str
    """Empty if it is the whole feature."""
    unit: str


def scaled_blocks(view: UtteranceView, scale: Scale) -> list[ScaledBlock]:
    """The blocks of a feature's values, from the first dimension on.

    Args:
        view: One with values.
        scale: `values` as they are; `dimensions` standardised, each by its mean and deviation over the utterance;
            `auto`: filter banks as they are, with deltas as blocks of their own, and other features standardised,
            unless there is only one frame.
    """
    assert view.values is not None
    bands, order = _filter_banks(view.feature)
    if scale == "dimensions" or (scale == "auto" and not bands and len(view.values) > 1):
        return [ScaledBlock(values=_standardised(view.values), first=0, name="", unit=DEVIATIONS)]
    if scale == "values" or not order:
        return [ScaledBlock(values=view.values, first=0, name="", unit="value")]
    return [
        ScaledBlock(values=view.values[:, n * bands : (n + 1) * bands], first=n * bands, name=name, unit="value")
        for n, name in enumerate(_DELTA_BLOCKS[: order + 1])
    ]


def _filter_banks(feature: Feature) -> tuple[int, int]:
    """How many bands a feature of filter banks has, and the order of its deltas; zeros for other features."""
    bands, deltas = feature.fingerprint.get("bands"), feature.fingerprint.get("deltas")
    order = deltas.get("order") if isinstance(deltas, dict) else 0
    if isinstance(bands, int) and order in (0, 1, 2) and feature.dimension == bands * (order + 1):
        return bands, int(order)
    return 0, 0


def _standardised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """[T, D] with mean 0 and deviation 1 along time, over finite values; a constant dimension is 0."""
    finite = np.where(np.isfinite(values), values, np.nan)
    mean = np.nan_to_num(np.nanmean(finite, 0, keepdims=True)) if np.isfinite(values).any() else 0.0
    deviation = np.sqrt(np.nanmean((finite - mean) ** 2, 0, keepdims=True)) if np.isfinite(values).any() else 1.0
    return np.asarray((finite - mean) / np.where(deviation > 0, deviation, 1), np.float32)


def colour_range(values: NDArray[np.floating]) -> tuple[float, float]:
    """The 2nd and the 98th percentile of the finite values; zeros where there are none."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 0.0
    low, high = np.percentile(finite.astype(np.float64), (2, 98))
    return float(low), float(high)


def chart_of(title: str, view: UtteranceView, scale: Scale) -> Frames:
    """A feature's values for a picture file."""
    blocks: Sequence[ScaledBlock] = scaled_blocks(view, scale)
    return Frames(
        title=title,
        seconds=view.seconds,
        blocks=[
            FrameBlock(values=b.values, first=b.first, name=b.name, scale=colour_range(b.values), unit=b.unit)
            for b in blocks
        ],
    )
