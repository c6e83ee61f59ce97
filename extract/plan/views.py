"""What one pass of an encoder can leave: its frames, their mean in every layer, and statistics of them.

A mean, or statistics, is one frame per utterance. A linear head over a mean of frames (SUPERB's, `fit --model
weighted-layers`) gives the same scores from the means alone, since the mean of linear maps is the map of the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.extract.encoders.base import Encoder
from emofuse.extract.encoders.blocks.pretrained import Pretrained, choose_layers, depth

FRAMES, MEAN, STATISTICS = "frames", "mean", "statistics"
VIEWS = (FRAMES, MEAN, STATISTICS)
_MOMENTS = ("mean", "standard deviation", "minimum", "maximum")


def read(words: str) -> tuple[str, ...]:
    """The views that `--views frames,mean` asks for.

    Raises:
        UsageError: A word that is none, or one twice.
    """
    asked = tuple(word.strip() for word in words.split(","))
    for word in asked:
        if word not in VIEWS:
            raise UnknownNameError("view", word, VIEWS)
    if len(set(asked)) < len(asked):
        raise UsageError(f"--views {words} names a view twice; valid: {', '.join(VIEWS)}")
    return asked


def name(feature: str, view: str) -> str:
    """What the feature of a view is called: `hubert`, `hubert-mean`; a fold stays last (`hubert-mean@1`)."""
    if view == FRAMES:
        return feature
    stem, at, fold = feature.partition("@")
    return f"{stem}-{view}{at}{fold}"


def with_every_layer(encoder: Encoder) -> Encoder:
    """The same model, on the same weights, with all its layers; an encoder whose layers differ in width as it is."""
    base = getattr(encoder, "base", None)
    if not isinstance(base, Pretrained):
        return encoder
    every = choose_layers("all", depth(base.config))
    return replace(encoder, base=replace(base, layers=every))  # type: ignore[type-var]


def layers_of(values: NDArray[np.float32], wide: Encoder, narrow: Encoder) -> NDArray[np.float32]:
    """The layers that `narrow` asks for, [T, D] or [T, L, D], of all that `wide` gave, [T, L, D]."""
    if wide is narrow or wide.layers == narrow.layers:
        return values
    chosen = narrow.base.layers  # type: ignore[attr-defined]
    picked: NDArray[np.float32] = values[:, [wide.layers.index(n) for n in chosen.numbers]]
    if chosen.mean:
        mean: NDArray[np.float32] = picked.mean(axis=1, dtype=np.float32)
        return mean
    return picked if chosen.axis else picked[:, 0]


def of(values: NDArray[np.float32], view: str) -> NDArray[np.float32]:
    """The view [1, ..., D'] (`frames`: `values` themselves) of frames [T, D] or [T, L, D]."""
    if view == FRAMES:
        return values
    mean = values.mean(axis=0, dtype=np.float64)
    if view == MEAN:
        return np.asarray(mean, np.float32)[None]
    moments = (mean, values.std(axis=0, dtype=np.float64), values.min(axis=0), values.max(axis=0))
    return np.concatenate(moments, axis=-1).astype(np.float32)[None]


def dimension(width: int, view: str) -> int:
    """D', the width of the view of frames of `width`."""
    return width * len(_MOMENTS) if view == STATISTICS else width


def identity(view: str) -> dict[str, Any]:
    """For the fingerprint."""
    said: dict[str, Sequence[str]] = {MEAN: ["mean"], STATISTICS: _MOMENTS}
    return {"over_frames": list(said[view])} if view in said else {}
