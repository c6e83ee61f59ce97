"""Views: what `extract` stores of an encoder's frames: all, their mean in every layer, the last one, or statistics.

The view `pooled` stores the vector that a sentence encoder itself makes of a text. All but `frames` are one frame per
utterance. A linear head over a mean of frames (SUPERB's, `fit --model
weighted-layers`) gives the same scores from the means alone, since the mean of linear maps is the map of the mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import UnknownNameError, UsageError

FRAMES, MEAN, LAST, POOLED, STATISTICS = "frames", "mean", "last", "pooled", "statistics"
VIEWS = (FRAMES, MEAN, LAST, POOLED, STATISTICS)
_MOMENTS = ("mean", "standard deviation", "minimum", "maximum")
_OVER_FRAMES: dict[str, Sequence[str]] = {MEAN: ["mean"], LAST: ["last"], POOLED: ["pooled"], STATISTICS: _MOMENTS}
"""View -> its entry `over_frames` in the fingerprint."""


def parse_views(option: str) -> tuple[str, ...]:
    """The views that `--views frames,mean` asks for.

    Raises:
        UsageError: An unknown view, or one named twice.
    """
    names = tuple(name.strip() for name in option.split(","))
    for name in names:
        if name not in VIEWS:
            raise UnknownNameError("view", name, VIEWS)
    if len(set(names)) < len(names):
        raise UsageError(f"views is {option!r}, which names a view twice; valid: {', '.join(VIEWS)}")
    return names


def view_name(feature: str, view: str) -> str:
    """The name of a view of a feature: `hubert`, `hubert-mean`; a fold stays last (`hubert-mean@1`)."""
    if view == FRAMES:
        return feature
    stem, at, fold = feature.partition("@")
    return f"{stem}-{view}{at}{fold}"


def apply_view(values: NDArray[np.float32], view: str) -> NDArray[np.float32]:
    """What a view stores, [T, ...] or [1, ..., D'], of frames [T, D] or [T, L, D]; pooled frames are it already."""
    if view in (FRAMES, POOLED):
        return values
    if view == LAST:
        return values[-1:]
    mean = values.mean(axis=0, dtype=np.float64)
    if view == MEAN:
        return np.asarray(mean, np.float32)[None]
    moments = (mean, values.std(axis=0, dtype=np.float64), values.min(axis=0), values.max(axis=0))
    return np.concatenate(moments, axis=-1).astype(np.float32)[None]


def view_dimension(dimension: int, view: str) -> int:
    """D', the dimension of a view of D-dimensional frames."""
    return dimension * len(_MOMENTS) if view == STATISTICS else dimension


def view_identity(view: str) -> dict[str, Any]:
    """The view's entry in the feature's fingerprint; empty for `frames`."""
    return {"over_frames": list(_OVER_FRAMES[view])} if view in _OVER_FRAMES else {}


def recorded_view(fingerprint: Mapping[str, Any]) -> str:
    """The view of a feature with this fingerprint."""
    recorded = fingerprint.get("over_frames")
    return next((view for view, entry in _OVER_FRAMES.items() if list(entry) == recorded), FRAMES)
