"""The log-Mel patches that AudioSet's networks (VGGish, YAMNet) read.

Windows of 25 ms every 10 ms that fit wholly into the clip, periodic Hann, 512-point FFT, magnitudes; 64 triangles from
125 to 7500 Hz, spaced evenly on HTK's Mel scale and straight on it; log(mel + offset); patches of 96 windows (0.96 s).
All of it is computed in double precision on the CPU, in blocks of one size: neither device nor batch can change it.

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
WINDOW, SHIFT, FFT = 400, 160, 512
"""Samples: 25 ms, 10 ms, and what a window is filled up to for the Fourier transform."""
BANDS, LOWEST_HZ, HIGHEST_HZ = 64, 125.0, 7500.0
PATCH = 96
"""Windows of a patch."""
PATCH_SAMPLES = WINDOW + (PATCH - 1) * SHIFT
"""0.975 s: what the windows of one patch cover."""
_BLOCK = 128
"""Windows transformed at once: half a megabyte each of samples and spectra, which stays in a core's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEnd:
    """How a waveform becomes patches."""

    offset: float
    """Added to the Mel bands before the logarithm."""
    hop: int
    """Windows from one patch's beginning to the next one's."""
    fill_last: bool
    """Whether zeros complete the last patch; else what it lacks a whole patch for is dropped. A clip too short for one
    patch is always filled up with zeros to one."""

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
        """Patches of a clip of `samples` at 16 kHz; at least one."""
        beyond, step = max(0, samples - PATCH_SAMPLES), self.hop * SHIFT
        return 1 + (-(-beyond // step) if self.fill_last else beyond // step)

    def patches(self, waveform: Array) -> torch.Tensor:
        """Log-Mel patches, float32 [`count(samples)`, 96, 64], of a waveform [samples at 16 kHz, -1..1]."""
        return self.batch([waveform])[0]

    def batch(self, waveforms: Sequence[Array]) -> list[torch.Tensor]:
        """Each waveform's `patches`."""
        spectra = log_mels([self._filled(waveform) for waveform in waveforms], self.offset)
        return [spectrum.unfold(0, PATCH, self.hop).transpose(1, 2) for spectrum in spectra]

    def _filled(self, waveform: Array) -> Array:
        """What its patches cover of a waveform, with zeros after it where they cover more."""
        wanted = PATCH_SAMPLES + (self.count(len(waveform)) - 1) * self.hop * SHIFT
        return np.pad(waveform[:wanted], (0, max(0, wanted - len(waveform))))


def log_mel(waveform: Array, offset: float) -> torch.Tensor:
    """Log-Mel bands, float32 [T, 64], of the T windows that fit wholly into a waveform [samples at 16 kHz, -1..1]."""
    return log_mels([waveform], offset)[0]


def log_mels(waveforms: Sequence[Array], offset: float) -> list[torch.Tensor]:
    """Each waveform's `log_mel`; several at once are faster than one by one, and have the same values."""
    import torch

    if not waveforms:
        return []
    counts = np.array([1 + (len(waveform) - WINDOW) // SHIFT for waveform in waveforms])
    # The waveforms stand in one, and the windows that two of them would share belong to neither.
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

    Every block is whole because a matrix product of another shape may round otherwise.
    """
    import torch

    hann = torch.hann_window(WINDOW, periodic=True, dtype=torch.float64)
    mel = torch.from_numpy(mel_matrix())
    bands = torch.empty(len(windows), BANDS)
    filled = torch.zeros(_BLOCK, FFT, dtype=torch.float64)
    for block, out in zip(torch.split(windows, _BLOCK), torch.split(bands, _BLOCK), strict=True):
        torch.mul(block, hann, out=filled[:, :WINDOW])
        squares = torch.view_as_real(torch.fft.rfft(filled)).square_()
        magnitudes = (squares[..., 0] + squares[..., 1]).sqrt_()  # half the time of abs(), which fears overflow
        out.copy_(torch.mm(magnitudes, mel).add_(offset).log_())
    return bands


@lru_cache(maxsize=1)
def mel_matrix() -> NDArray[np.float64]:
    """What weighs each bin of a spectrum into each Mel band, [257, 64]."""
    bins = _mel(np.linspace(0, SAMPLE_RATE / 2, FFT // 2 + 1))
    edges = np.linspace(_mel(LOWEST_HZ), _mel(HIGHEST_HZ), BANDS + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - lower) / (centre - lower)
    falling = (upper - bins[:, None]) / (upper - centre)
    matrix: NDArray[np.float64] = np.clip(np.minimum(rising, falling), 0, None)
    matrix[0] = 0  # HTK leaves out the constant part, wherever the lowest band begins
    return matrix


def _mel(hertz: Any) -> NDArray[np.float64]:
    """HTK's Mel scale."""
    mel: NDArray[np.float64] = 1127.0 * np.log1p(np.asarray(hertz, dtype=np.float64) / 700.0)
    return mel
