"""Which transformer layers are stored: the `--layers` option of models whose layers all have one dimension."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from emofuse.common.errors import UsageError
from emofuse.extract.encoders.base import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerChoice:
    """The layers that are stored: 0 is the input of the first transformer layer, the highest number the output."""

    numbers: tuple[int, ...]
    mean: bool = False
    """Whether the mean over these layers is stored."""

    @property
    def axis(self) -> tuple[int, ...]:
        """The layers along the layer axis; empty where there is no such axis."""
        return () if self.mean or len(self.numbers) == 1 else self.numbers

    @property
    def identity(self) -> str | list[int]:
        """For the fingerprint: equal for `last` and for the number of that layer."""
        return f"mean of 0 to {self.numbers[-1]}" if self.mean else list(self.numbers)

    def select(self, values: Array) -> Array:
        """These layers, [T, D] or [T, L, D], from the values of all layers from 0 on, [T, all layers, D]."""
        picked: Array = values[:, list(self.numbers)]
        if self.mean:
            mean: Array = picked.mean(axis=1, dtype=np.float32)
            return mean
        return picked if self.axis else picked[:, 0]


def choose_layers(option: str, depth: int) -> LayerChoice:
    """Parse `last`, `all`, `mean` or `6,9,12` for a model of `depth` layers.

    Raises:
        UsageError: Anything else, a layer that the model does not have, or a layer named twice.
    """
    every = tuple(range(depth + 1))
    if option in ("last", "all", "mean"):
        return LayerChoice(numbers=every[-1:] if option == "last" else every, mean=option == "mean")
    names = [name.strip() for name in option.split(",")]
    known = all(re.fullmatch(r"[0-9]+", name) and int(name) <= depth for name in names)
    if not known or len({*map(int, names)}) < len(names):
        raise UsageError(
            f"--layers is {option!r}, expected last, all, mean or different numbers from 0 to {depth}, such as "
            f"0,{depth}"
        )
    return LayerChoice(numbers=tuple(map(int, names)))


def depth(config: Any) -> int:
    """Number of transformer layers of a transformers config; of the encoder half of an encoder-decoder model."""
    encoder_layers = getattr(config, "encoder_layers", None)
    return int(config.num_hidden_layers if encoder_layers is None else encoder_layers)
