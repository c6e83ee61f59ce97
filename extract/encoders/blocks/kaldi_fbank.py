"""Kaldi's log-Mel filter banks (compute-fbank-feats) at 16 kHz, transformed in blocks of one size.

Windows of 25 ms every 10 ms, Povey window, pre-emphasis 0.97, DC offset removed per window, no dither, 20 Hz to 8 kHz,
power, natural logarithm with a floor of 1.19e-7, samples in the 16-bit range.

Source: https://github.com/kaldi-asr/kaldi/blob/master/src/feat/feature-fbank.cc, and torchaudio.compliance.kaldi.fbank,
which computes the same values clip by clip and takes square roots of powers that are squared again.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from emofuse.extract.audio.torchaudio_compat import import_torchaudio
from emofuse.extract.encoders.base import Array

if TYPE_CHECKING:
    import torch

SAMPLE_RATE = 16000
"""Hz."""
WINDOW, SHIFT, FFT = 400, 160, 512
"""Samples: a window (25 ms), the step between windows (10 ms), and a window zero-padded for the FFT."""
FBANK: dict[str, Any] = {
    "sample_frequency": float(SAMPLE_RATE),
    "frame_length": 25.0,
    "frame_shift": 10.0,
    "dither": 0.0,
    "snip_edges": True,
    "preemphasis_coefficient": 0.97,
    "remove_dc_offset": True,
    "window_type": "povey",
    "low_freq": 20.0,
    "high_freq": 8000.0,
    "use_power": True,
}
_INT16 = 32768.0
BLOCK = 256
"""Windows transformed at once: half a megabyte of samples and half of spectra, which fit in a core's cache."""


def count_windows(samples: int) -> int:
    """Windows that lie completely inside a clip of `samples`, at least 1: a shorter clip is zero-padded to a window."""
    return 1 + (max(samples, WINDOW) - WINDOW) // SHIFT


def clip_banks(waveform: Array, bands: int) -> torch.Tensor:
    """Static bands [T, bands] of the T windows of one waveform [samples at 16 kHz, -1..1]."""
    import torch

    windows = count_windows(len(waveform))
    padded = np.zeros((-(-windows // BLOCK) * BLOCK - 1) * SHIFT + WINDOW, dtype=np.float32)
    padded[: len(waveform)] = waveform[: len(padded)]
    return banks(torch.from_numpy(padded), bands)[:windows]


def banks(waveform: torch.Tensor, bands: int) -> torch.Tensor:
    """Static bands [T, bands] of the T windows of a waveform [samples], T a multiple of `BLOCK`.

    All blocks have one size, because matrix products of different shapes may round differently.
    """
    import torch

    windows = waveform.unfold(0, WINDOW, SHIFT)
    window, mel = _povey(), _mel(bands)
    energies = torch.empty(len(windows), bands)
    # Buffers that every block reuses: fresh memory would cost a tenth more.
    centred, scaled, padded = torch.empty(BLOCK, WINDOW), torch.empty(BLOCK, WINDOW), torch.zeros(BLOCK, FFT)
    inner = padded[:, 1:WINDOW]  # the Povey window is zero at the first sample
    for block, out in zip(torch.split(windows, BLOCK), torch.split(energies, BLOCK), strict=True):
        torch.sub(block, block.mean(dim=1, keepdim=True), out=centred)
        torch.mul(centred, FBANK["preemphasis_coefficient"], out=scaled)  # a separate step, rounded as in Kaldi
        torch.sub(centred[:, 1:], scaled[:, :-1], out=inner).mul_(window)
        # Real and imaginary parts alternate; the Mel matrix sums their squares.
        spectrum = torch.view_as_real(torch.fft.rfft(padded)).flatten(1)
        torch.mm(spectrum.square_(), mel, out=out)
    return energies.clamp_min_(torch.finfo(torch.float32).eps).log_()


@lru_cache(maxsize=1)
def _povey() -> torch.Tensor:
    """The Povey window [399] without its first value, times the factor to the 16-bit range (an exact power of two)."""
    import torch

    return torch.hann_window(WINDOW, periodic=False).pow(0.85)[1:] * _INT16


@lru_cache(maxsize=4)
def _mel(bands: int) -> torch.Tensor:
    """The weights [514, bands] of the squared real and imaginary part of each bin in each band."""
    import_torchaudio()
    import torch
    from torchaudio.compliance import kaldi

    edges = {"low_freq": FBANK["low_freq"], "high_freq": FBANK["high_freq"]}
    unwarped = {"vtln_low": 100.0, "vtln_high": -500.0, "vtln_warp_factor": 1.0}
    weights, _ = kaldi.get_mel_banks(bands, FFT, float(SAMPLE_RATE), **edges, **unwarped)
    with_nyquist = torch.nn.functional.pad(weights, (0, 1))
    return with_nyquist.repeat_interleave(2, dim=1).T.contiguous()
