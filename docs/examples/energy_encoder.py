"""An encoder: log energy and zero-crossing rate of windows of 25 ms, every 10 ms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np

from emofuse.extract.encoders.base import Array, EncoderDefaults, EncoderOptions, EncoderSpec, refuse_pretrained_options

RATE, WINDOW, HOP = 16_000, 400, 160


class Energy(EncoderDefaults):
    """Needs no weights; an encoder with weights loads them in `build` and gives their digest in `identity`."""

    modality: Literal["audio"] = "audio"
    dimension = 2
    layers: tuple[int, ...] = ()
    frame_rate = RATE / HOP
    sample_rate = RATE

    def identity(self) -> dict[str, Any]:
        """Everything that changes the values. A store refuses to mix features whose identities differ."""
        return {"encoder": "energy", "version": 1, "window": WINDOW, "hop": HOP}

    def provenance(self) -> dict[str, Any]:
        """What is recorded but not compared. `fitted_on` lists the corpora whose labels the weights have seen."""
        return {"fitted_on": []}

    def length(self, item: int | str) -> int:
        """T for a number of samples: known before anything is encoded, so that space can be reserved."""
        return max(1, 1 + (int(item) - WINDOW) // HOP)

    def encode(self, items: Sequence[Array] | Sequence[str]) -> list[Array]:
        """[T, 2] per waveform; one at a time, so that values cannot depend on the batch."""
        return [self._frames(wave) for wave in cast(Sequence[Array], items)]

    def _frames(self, wave: Array) -> Array:
        padded = np.pad(wave, (0, max(0, WINDOW - len(wave))))
        frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
        energy = np.log(np.square(frames, dtype=np.float64).mean(axis=1) + 1e-10)
        crossings = (np.diff(np.signbit(frames), axis=1)).mean(axis=1)
        return np.stack([energy, crossings], axis=1).astype(np.float32)


def build(options: EncoderOptions) -> Energy:
    """Refuse what has no effect, then build."""
    refuse_pretrained_options("energy", options)
    return Energy()


ENERGY = EncoderSpec(modality="audio", feature="energy", pretrained=False, build=build)
