"""Log-Mel filter banks, as the fusion papers without a pre-trained audio encoder use them.

`logmel-smcn` (also `logmel`): 26 bands, their deltas and delta-deltas over time, averaged over 5 frames (IEMOCAP and
others) or 4 (MELD): 78 values every 50 or 40 ms. `logmel-mcfn`: 40 static bands every 10 ms; MCFN masks before it
takes deltas, which `fit` then does. The last, incomplete pooling window averages what it has.

The banks are Kaldi's (compute-fbank-feats): windows of 25 ms every 10 ms that fit wholly into the clip, Povey window,
pre-emphasis 0.97, offset removed per window, no dither, 20 Hz to 8 kHz, power, natural logarithm with a floor of
1.19e-7, samples in the 16-bit range. A clip shorter than one window is filled up with zeros to one.

A batch's clips stand behind one another in one waveform, whose windows are transformed in blocks of one size: an
utterance's values do not depend on its company, and memory beyond the waveform stays small however long it is.

Source: https://github.com/kaldi-asr/kaldi/blob/master/src/feat/feature-fbank.cc, and torchaudio.compliance.kaldi.fbank,
which computes the same but takes clip by clip, with magnitudes by square roots where their squares are wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from emofuse.extract.corpus.torchaudio_compat import import_torchaudio
from emofuse.extract.encoders.base import (
    ENCODERS,
    Array,
    EncoderOptions,
    EncoderSpec,
    Modality,
    refuse_pretrained_options,
)

if TYPE_CHECKING:
    import torch

SAMPLE_RATE = 16000
WINDOW, SHIFT, FFT = 400, 160, 512
"""Samples: 25 ms, 10 ms, and what a window is filled up to for the Fourier transform."""
_FBANK: dict[str, Any] = {
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
_DELTA_WINDOW = 5
_BLOCK = 256
"""Windows transformed at once: half a megabyte each of samples and spectra, which stays in a core's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMel:
    """Log-Mel filter banks, with or without deltas and pooling over time."""

    bands: int
    deltas: bool
    pool: int
    """Frames of 10 ms that one stored frame averages."""

    @property
    def modality(self) -> Modality:
        """Waveforms."""
        return "audio"

    @property
    def dimension(self) -> int:
        """The bands, three times where deltas are taken."""
        return self.bands * (3 if self.deltas else 1)

    @property
    def layers(self) -> tuple[int, ...]:
        """None."""
        return ()

    @property
    def frame_rate(self) -> float:
        """Frames per second, after pooling."""
        return SAMPLE_RATE / SHIFT / self.pool

    @property
    def sample_rate(self) -> int:
        """16 kHz."""
        return SAMPLE_RATE

    def identity(self) -> dict[str, Any]:
        """Every setting of the filter banks, the deltas and the pooling."""
        deltas = {"order": 2, "window": _DELTA_WINDOW, "axis": "time"} if self.deltas else None
        return {
            "encoder": "logmel",
            "version": 1,
            "bands": self.bands,
            "fbank": {**_FBANK, "scale": "int16", "short_clips": "zeros up to one window"},
            "deltas": deltas,
            "pool": {"frames": self.pool, "kind": "mean", "last": "averages what it has"},
            "precision": "fp32",
        }

    def provenance(self) -> dict[str, Any]:
        """Library versions; nothing is learned."""
        libraries = {name: version(name) for name in ("torch", "torchaudio")}
        return {"libraries": libraries, "pretrained_on": None, "fitted_on": []}

    def length(self, item: int | str) -> int:
        """Frames of a clip of `item` samples at 16 kHz."""
        windows = 1 + (max(cast(int, item), WINDOW) - WINDOW) // SHIFT
        return -(-windows // self.pool)

    def encode(self, items: Sequence[Array] | Sequence[str]) -> list[Array]:
        """One array [T_i, D] per waveform [samples at 16 kHz, -1..1]."""
        import torch

        waveforms = [cast(Array, item) for item in items]
        if not waveforms:
            return []
        with torch.inference_mode():
            whole, first, last = _in_one(waveforms, self.pool)
            frames = _banks(whole, self.bands)
            if self.deltas:
                delta = _deltas(frames, first, last)
                frames = torch.cat([frames, delta, _deltas(delta, first, last)], dim=1)
            means = _means(frames, last, self.pool).numpy()
        return [means[a : b + 1].copy() for a, b in zip(first // self.pool, last // self.pool, strict=True)]


Rows = NDArray[np.int64]


def _in_one(waveforms: Sequence[Array], pool: int) -> tuple[torch.Tensor, Rows, Rows]:
    """Waveforms behind one another in one [samples]; of its windows, each utterance's first and last.

    The first is a multiple of `pool`, so that pooling windows begin with it. At least four windows before, between and
    after utterances belong to none: no utterance reaches into another's, and what `_deltas` and `_means` write there
    meets nothing.
    """
    import torch

    windows = np.array([1 + max(0, len(waveform) - WINDOW) // SHIFT for waveform in waveforms])
    widths = -(-(windows + 4 + pool) // pool) * pool
    ends = 4 * pool + np.cumsum(widths)
    first = ends - widths
    blocks = -(-int(ends[-1]) // _BLOCK)
    whole = torch.zeros(blocks * _BLOCK * SHIFT + WINDOW - SHIFT)
    samples = whole.numpy()
    for waveform, start in zip(waveforms, first * SHIFT, strict=True):
        samples[start : start + len(waveform)] = waveform
    return whole, first, first + windows - 1


def _banks(waveform: torch.Tensor, bands: int) -> torch.Tensor:
    """Static bands [T, bands] of the T windows of a waveform [samples], T a multiple of `_BLOCK`.

    Every block is whole because a matrix product of another shape may round otherwise.
    """
    import torch

    windows = waveform.unfold(0, WINDOW, SHIFT)
    window, mel = _povey(), _mel(bands)
    energies = torch.empty(len(windows), bands)
    # Written again by every block: fresh memory would cost a tenth more.
    centred, before, filled = torch.empty(_BLOCK, WINDOW), torch.empty(_BLOCK, WINDOW), torch.zeros(_BLOCK, FFT)
    inner = filled[:, 1:WINDOW]  # the Povey window begins with zero, as the first sample stays
    for block, out in zip(torch.split(windows, _BLOCK), torch.split(energies, _BLOCK), strict=True):
        torch.sub(block, block.mean(dim=1, keepdim=True), out=centred)
        torch.mul(centred, _FBANK["preemphasis_coefficient"], out=before)  # a step of its own, rounded as Kaldi's is
        torch.sub(centred[:, 1:], before[:, :-1], out=inner).mul_(window)
        # Real and imaginary parts in turn: the Mel matrix adds their squares.
        parts = torch.view_as_real(torch.fft.rfft(filled)).flatten(1)
        torch.mm(parts.square_(), mel, out=out)
    return energies.clamp_min_(torch.finfo(torch.float32).eps).log_()


@lru_cache(maxsize=1)
def _povey() -> torch.Tensor:
    """The window without its first value, and the step to the 16-bit range (a power of two, exact), [399]."""
    import torch

    return torch.hann_window(WINDOW, periodic=False).pow(0.85)[1:] * _INT16


@lru_cache(maxsize=4)
def _mel(bands: int) -> torch.Tensor:
    """What weighs the square of each bin's real and of its imaginary part into each band, [514, bands]."""
    import_torchaudio()
    import torch
    from torchaudio.compliance import kaldi

    edges = {"low_freq": _FBANK["low_freq"], "high_freq": _FBANK["high_freq"]}
    unwarped = {"vtln_low": 100.0, "vtln_high": -500.0, "vtln_warp_factor": 1.0}
    weights, _ = kaldi.get_mel_banks(bands, FFT, float(SAMPLE_RATE), **edges, **unwarped)
    with_nyquist = torch.nn.functional.pad(weights, (0, 1))
    return with_nyquist.repeat_interleave(2, dim=1).T.contiguous()


def _deltas(frames: torch.Tensor, first: Rows, last: Rows) -> torch.Tensor:
    """Regression over two frames of [T, D] to either side, utterances' edges repeated (into the frames around them)."""
    import torch

    for n in (1, 2):
        frames[first - n] = frames[first]
        frames[last + n] = frames[last]
    deltas = torch.zeros_like(frames)
    near, far = frames[3:-1] - frames[1:-3], frames[4:] - frames[:-4]
    torch.add(near, far, alpha=2, out=deltas[2:-2]).div_(10)
    return deltas


def _means(frames: torch.Tensor, last: Rows, width: int) -> torch.Tensor:
    """Means [T // width, D] over windows of `width` frames of [T, D]; an utterance's last averages what it has."""
    import torch

    frames = frames[: len(frames) // width * width]
    for n in range(1, width):
        frames[last + n] = 0
    counts = torch.full((len(frames) // width, 1), float(width))
    counts[last // width, 0] = torch.from_numpy(last % width + 1).float()
    return frames.reshape(-1, width, frames.shape[1]).sum(dim=1).div_(counts)


def _smcn(options: EncoderOptions) -> LogMel:
    refuse_pretrained_options("logmel-smcn", options)
    return LogMel(bands=26, deltas=True, pool=4 if options.corpus == "meld" else 5)


def _mcfn(options: EncoderOptions) -> LogMel:
    refuse_pretrained_options("logmel-mcfn", options)
    return LogMel(bands=40, deltas=False, pool=1)


_SMCN = EncoderSpec(modality="audio", feature="logmel", pretrained=False, build=_smcn)
ENCODERS.add("logmel-smcn", "26 log-Mel bands with deltas and delta-deltas, pooled to 50 ms (MELD: 40 ms); 78-d", _SMCN)
ENCODERS.add("logmel", "the same as logmel-smcn", _SMCN)
ENCODERS.add(
    "logmel-mcfn",
    "40 static log-Mel bands every 10 ms",
    EncoderSpec(modality="audio", feature="logmel-mcfn", pretrained=False, build=_mcfn),
)
