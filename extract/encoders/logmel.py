"""Log-Mel filter banks, as the fusion papers without a pre-trained audio encoder use them.

`logmel-smcn` (also `logmel`): 26 bands, their deltas and delta-deltas over time, averaged over 5 frames (IEMOCAP and
others) or 4 (MELD): 78 values every 50 or 40 ms. `logmel-mcfn`: 40 static bands every 10 ms; MCFN masks before it
takes deltas, which `fit` then does. The last, incomplete pooling window averages what it has.

The banks are Kaldi's (compute-fbank-feats, through torchaudio): windows of 25 ms every 10 ms that fit wholly into the
clip, Povey window, pre-emphasis 0.97, offset removed per window, no dither, 20 Hz to 8 kHz, power, natural logarithm
with a floor of 1.19e-7, samples in the 16-bit range. A clip shorter than one window is filled up with zeros to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, cast

import numpy as np

from emofuse.extract.encoders.base import (
    ENCODERS,
    Array,
    EncoderOptions,
    EncoderSpec,
    Modality,
    refuse_pretrained_options,
)
from emofuse.extract.torchaudio_compat import import_torchaudio

SAMPLE_RATE = 16000
WINDOW, SHIFT = 400, 160
"""25 ms and 10 ms, in samples."""
_FBANK = {
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
        return [self._encode(cast(Array, waveform)) for waveform in items]

    def _encode(self, waveform: Array) -> Array:
        torchaudio = import_torchaudio()
        import torch
        from torchaudio.compliance import kaldi

        filled = np.pad(waveform, (0, max(0, WINDOW - len(waveform))))
        with torch.inference_mode():
            frames = kaldi.fbank(torch.from_numpy(filled)[None] * _INT16, num_mel_bins=self.bands, **_FBANK)
            if self.deltas:
                static = frames.T  # compute_deltas runs along the last axis, which must be time
                delta = torchaudio.functional.compute_deltas(static, win_length=_DELTA_WINDOW)
                second = torchaudio.functional.compute_deltas(delta, win_length=_DELTA_WINDOW)
                frames = torch.cat([static, delta, second]).T
            return pool_mean(frames.numpy(), self.pool)


def pool_mean(frames: Array, width: int) -> Array:
    """Means [ceil(T / width), D] over windows of `width` frames of [T, D]; the last one averages what it has."""
    starts = np.arange(0, len(frames), width)
    counts = np.diff(np.append(starts, len(frames)))
    sums = np.add.reduceat(frames, starts, axis=0, dtype=np.float64)
    return (sums / counts[:, None]).astype(np.float32)


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
