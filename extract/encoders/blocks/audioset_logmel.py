"""The log-Mel patches that the networks of AudioSet (VGGish, YAMNet) read.

Windows of 25 ms every 10 ms that lie completely inside the clip, periodic Hann window, 512-point FFT, magnitudes; 64
triangular filters from 125 to 7500 Hz, evenly spaced on HTK's Mel scale; log(mel + offset); patches of 96 windows
(0.96 s). Everything is computed in double precision on the CPU in blocks of one size, so that values depend neither on
the device nor on the batch.

Source: mel_features.py and yamnet/features.py of https://github.com/tensorflow/models/tree/master/research/audioset
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emofuse.extract.encoders.base import Array

if TYPE_CHECKING:
    import torch

SAMPLE_RATE = 16000
"""Hz."""
WINDOW, SHIFT, FFT = 400, 160, 512
"""Samples: a window (25 ms), the step between windows (10 ms), and a window zero-padded for the FFT."""
BANDS, LOWEST_HZ, HIGHEST_HZ = 64, 125.0, 7500.0
PATCH = 96
"""Windows per patch."""
PATCH_SAMPLES = WINDOW + (PATCH - 1) * SHIFT
"""Samples that the windows of one patch cover: 0.975 s."""
_BLOCK = 128
"""Windows transformed at once: half a megabyte of samples and half of spectra, which fit in a core's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEnd:
    """How a network's patches are made from a waveform."""

    offset: float
    """Added to the Mel bands before the logarithm."""
    hop: int
    """Windows from the start of one patch to the start of the next."""
    fill_last: bool
    """Whether the last patch is zero-padded; otherwise samples that do not fill a patch are dropped. A clip that is
    too short for one patch is always zero-padded to one."""

    @property
    def frame_rate(self) -> float:
        """Patches per second."""
        return SAMPLE_RATE / (SHIFT * self.hop)

    def identity(self) -> dict[str, Any]:
        """Every setting that changes the patches."""
        return {
            "sample_rate": SAMPLE_RATE,
            "stft": {"window": WINDOW, "shift": SHIFT, "fft": FFT, "kind": "periodic Hann, magnitude"},
            "mel": {"bands": BANDS, "lowest_hz": LOWEST_HZ, "highest_hz": HIGHEST_HZ, "scale": "HTK"},
            "log_offset": self.offset,
            "patch": {"windows": PATCH, "hop": self.hop},
            "short_clips": "zeros up to one patch",
            "last_patch": "zeros up to a whole one" if self.fill_last else "dropped unless whole",
        }

    def count(self, samples: int) -> int:
        """Number of patches of a clip of `samples` at 16 kHz, at least 1."""
        beyond, step = max(0, samples - PATCH_SAMPLES), self.hop * SHIFT
        return 1 + (-(-beyond // step) if self.fill_last else beyond // step)

    def patches(self, waveform: Array) -> torch.Tensor:
        """Log-Mel patches, float32 [`count(samples)`, 96, 64], of a waveform [samples at 16 kHz, -1..1]."""
        return self.batch([waveform])[0]

    def batch(self, waveforms: Sequence[Array]) -> list[torch.Tensor]:
        """The `patches` of each waveform."""
        spectra = log_mels([self._fitted(waveform) for waveform in waveforms], self.offset)
        return [spectrum.unfold(0, PATCH, self.hop).transpose(1, 2) for spectrum in spectra]

    def _fitted(self, waveform: Array) -> Array:
        """A waveform cut or zero-padded to the samples that its patches cover."""
        wanted = PATCH_SAMPLES + (self.count(len(waveform)) - 1) * self.hop * SHIFT
        return np.pad(waveform[:wanted], (0, max(0, wanted - len(waveform))))


def log_mel(waveform: Array, offset: float) -> torch.Tensor:
    """Log-Mel bands, float32 [T, 64], of the T complete windows of a waveform [samples at 16 kHz, -1..1]."""
    return log_mels([waveform], offset)[0]


def log_mels(waveforms: Sequence[Array], offset: float) -> list[torch.Tensor]:
    """The `log_mel` of each waveform; faster than calls one by one, with the same values."""
    import torch

    if not waveforms:
        return []
    counts = np.array([1 + (len(waveform) - WINDOW) // SHIFT for waveform in waveforms])
    # All waveforms are concatenated; windows that overlap two of them are not used.
    first = np.cumsum(counts + 3) - (counts + 3)
    rows = -(-int(first[-1] + counts[-1]) // _BLOCK) * _BLOCK
    whole = np.zeros(rows * SHIFT + WINDOW, dtype=np.float32)
    for waveform, start in zip(waveforms, first * SHIFT, strict=True):
        whole[start : start + len(waveform)] = waveform
    with torch.inference_mode():
        bands = _bands(torch.from_numpy(whole).unfold(0, WINDOW, SHIFT)[:rows], offset)
    return [bands[a : a + n] for a, n in zip(first, counts, strict=True)]


def _bands(windows: torch.Tensor, offset: float) -> torch.Tensor:
    """Log-Mel bands [T, 64] of windows [T, 400], T a multiple of `_BLOCK`.

    All blocks have one size, because matrix products of different shapes may round differently.
    """
    import torch

    hann = torch.hann_window(WINDOW, periodic=True, dtype=torch.float64)
    mel = torch.from_numpy(mel_matrix())
    bands = torch.empty(len(windows), BANDS)
    padded = torch.zeros(_BLOCK, FFT, dtype=torch.float64)
    for block, out in zip(torch.split(windows, _BLOCK), torch.split(bands, _BLOCK), strict=True):
        torch.mul(block, hann, out=padded[:, :WINDOW])
        squares = torch.view_as_real(torch.fft.rfft(padded)).square_()
        magnitudes = (squares[..., 0] + squares[..., 1]).sqrt_()  # twice as fast as abs(), without its overflow guard
        out.copy_(torch.mm(magnitudes, mel).add_(offset).log_())
    return bands


@lru_cache(maxsize=1)
def mel_matrix() -> NDArray[np.float64]:
    """The weight of each bin of the spectrum in each Mel band, [257, 64]."""
    bins = _mel(np.linspace(0, SAMPLE_RATE / 2, FFT // 2 + 1))
    edges = np.linspace(_mel(LOWEST_HZ), _mel(HIGHEST_HZ), BANDS + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - lower) / (centre - lower)
    falling = (upper - bins[:, None]) / (upper - centre)
    matrix: NDArray[np.float64] = np.clip(np.minimum(rising, falling), 0, None)
    matrix[0] = 0  # HTK drops the DC bin, wherever the lowest band begins
    return matrix


def _mel(hertz: Any) -> NDArray[np.float64]:
    """Frequencies in Hz on HTK's Mel scale."""
    mel: NDArray[np.float64] = 1127.0 * np.log1p(np.asarray(hertz, dtype=np.float64) / 700.0)
    return mel
