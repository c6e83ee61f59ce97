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
_LARGEST_GATHER = 4_000_000
"""Samples that are gathered at a time where each output sample has its own window."""
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
        AudioError: The two rates differ so much, and share so small a factor, that no filter fits in memory.
    """
    factor = math.gcd(old, new)
    if old // factor * (new // factor) <= _LARGEST_FILTER:
        return _resample_in_blocks(waveform, old // factor, new // factor)
    if new // factor * _taps(old, new) > _LARGEST_FILTER:
        raise AudioError(f"has a sampling rate of {old} Hz, which cannot be resampled to {new} Hz")
    return _resample_by_sample(waveform, old // factor, new // factor)


def _resample_in_blocks(waveform: Waveform, old: int, new: int) -> Waveform:
    """As torchaudio does: one convolution computes `new` samples of every `old` ones, for coprime rates."""
    import torch

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


def _resample_by_sample(waveform: Waveform, old: int, new: int) -> Waveform:
    """The same sums, of the samples under the window alone: for coprime rates such as 12207 and 8000 (TESS: 24414 Hz).

    The filters of a block would reach over all its `old` samples, almost all of them with the factor 0.
    """
    filters, taps = _phase_filters(old, new), _taps(old, new)
    before = taps // 2 - 1
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(waveform, (before, before + 2)), taps)
    place = np.arange(resampled_length(len(waveform), old, new)) * old
    result = np.empty(len(place), dtype=np.float32)
    rows = max(1, _LARGEST_GATHER // taps)
    for start in range(0, len(place), rows):
        first, phase = np.divmod(place[start : start + rows], new)
        result[start : start + rows] = np.einsum("nt,nt->n", windows[first], filters[phase])
    return result


def _taps(old: int, new: int) -> int:
    """Samples at `old` Hz under the window of one sample at `new` Hz; even."""
    half: float = KAISER_BEST["lowpass_filter_width"] * max(1.0, old / new) / KAISER_BEST["rolloff"]
    return 2 * math.ceil(half) + 2


@lru_cache(maxsize=8)
def _phase_filters(old: int, new: int) -> NDArray[np.float32]:
    """The filters [new, taps] of the samples that lie 0, 1/new, 2/new, ... behind a sample at `old` Hz (coprime).

    torchaudio's formula: a sinc of `rolloff` times the lower rate under a Kaiser window.
    """
    taps, width = _taps(old, new), KAISER_BEST["lowpass_filter_width"]
    scale = min(1.0, new / old) * KAISER_BEST["rolloff"]
    distance = np.arange(1 - taps // 2, taps // 2 + 1) - np.arange(new)[:, None] / new
    t = np.clip(distance * scale, -width, width)
    window = np.i0(KAISER_BEST["beta"] * np.sqrt(1 - (t / width) ** 2)) / np.i0(KAISER_BEST["beta"])
    filters: NDArray[np.float32] = (np.sinc(t) * window * scale).astype(np.float32)
    return filters


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
