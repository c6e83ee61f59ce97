"""Resampling with the filter of librosa's and resampy's "kaiser_best", computed as torchaudio does, but faster."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emofuse.extract.audio.decoding import AudioError
from emofuse.extract.audio.torchaudio_compat import import_torchaudio

if TYPE_CHECKING:
    import torch

Waveform = NDArray[np.float32]
"""Samples [N] of one channel in -1..1."""

# As torchaudio's documentation translates it.
KAISER_BEST: Mapping[str, Any] = {
    "lowpass_filter_width": 64,
    "rolloff": 0.9475937167399596,
    "resampling_method": "sinc_interp_kaiser",
    "beta": 14.769656459379492,
}
_LARGEST_FILTER = 30_000_000
_FILTERS_PER_CONVOLUTION = 16
"""Filters that one convolution computes in the time of a single one."""
_LONG_CLIP = 32768
"""Samples from which on torch's convolution rounds the same whatever the number of filters."""
_LARGEST_DOWNSAMPLING = 16
"""The largest ratio of the rates for which filters are repeated: beyond it (no microphone) they become too long."""


def resampled_length(samples: int, old: int, new: int) -> int:
    """Samples at `new` Hz of a clip of `samples` at `old` Hz: ceil(samples * new / old)."""
    return -(-samples * new // old)


def resample(waveform: Waveform, old: int, new: int) -> Waveform:
    """`waveform` [N] at `old` Hz, resampled to a different rate of `new` Hz, [`resampled_length(N, old, new)`].

    Raises:
        AudioError: The common factor of the two rates is so small that the filter would not fit in memory.
    """
    factor = math.gcd(old, new)
    if old // factor * (new // factor) > _LARGEST_FILTER:
        raise AudioError(f"has a sampling rate of {old} Hz, which cannot be resampled to {new} Hz")
    import torch

    old, new = old // factor, new // factor
    length = resampled_length(len(waveform), old, new)
    repeat_filters = len(waveform) >= _LONG_CLIP and old <= _LARGEST_DOWNSAMPLING * new
    copies = -(-_FILTERS_PER_CONVOLUTION // new) if repeat_filters else 1
    filters, width = _filters(old, new, copies)
    step = copies * old
    # With enough zeros for the last sample: torchaudio computes the length in float32, one short for long clips.
    padding = (width, filters.shape[2] - width + 2 * step)
    with torch.inference_mode():
        padded = torch.nn.functional.pad(torch.from_numpy(waveform), padding)
        result = torch.nn.functional.conv1d(padded[None, None], filters, stride=step)[0]
    return np.ascontiguousarray(result.T.numpy().reshape(-1)[:length])


@lru_cache(maxsize=8)
def _filters(old: int, new: int, copies: int) -> tuple[torch.Tensor, int]:
    """torchaudio's filters [copies * new, 1, taps] from `old` to `new` Hz (coprime), and the samples they reach back.

    There are `new` filters, one for each of the samples that `old` samples become. They are repeated `copies` times,
    each copy shifted by `old` samples: from 48 to 16 kHz there is a single filter, which alone takes eight times as
    long.
    """
    import torch

    # In float32, as functional.resample computes them at every call.
    resampler = import_torchaudio().transforms.Resample(old, new, dtype=torch.float32, **KAISER_BEST)
    taps = resampler.kernel.shape[2]
    filters = torch.zeros(copies, new, taps + (copies - 1) * old)
    for n in range(copies):
        filters[n, :, n * old : n * old + taps] = resampler.kernel[:, 0]
    return filters.flatten(0, 1)[:, None], resampler.width
