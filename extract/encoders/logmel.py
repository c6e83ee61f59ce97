"""Log-Mel filter banks, the audio features of fusion papers without a pre-trained audio encoder.

`logmel-smcn` (also `logmel`): 26 bands with deltas and delta-deltas over time, averaged over 5 frames (MELD: 4 frames),
that is 78 values every 50 ms (MELD: 40 ms). `logmel-mcfn`: 40 static bands every 10 ms; MCFN masks the bands before it
takes deltas, so `fit` takes them. A last, incomplete pooling window averages the frames that it contains.

The filter banks are Kaldi's (`blocks/kaldi_fbank.py`), of windows that lie completely inside the clip. A clip shorter
than one window is zero-padded to one.

The clips of a batch are concatenated into one waveform, whose windows are transformed in blocks of one size. The values
of an utterance therefore do not depend on its batch, and memory beyond the waveform stays small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from emofuse.extract.encoders.base import (
    ENCODERS,
    Array,
    EncoderDefaults,
    EncoderOptions,
    EncoderSpec,
    Modality,
    refuse_pretrained_options,
)
from emofuse.extract.encoders.blocks import kaldi_fbank
from emofuse.extract.encoders.blocks.kaldi_fbank import FBANK, SAMPLE_RATE, SHIFT, WINDOW, banks, count_windows

if TYPE_CHECKING:
    import torch

_DELTA_WINDOW = 5
Indices = NDArray[np.int64]
"""Window numbers, one per utterance of a batch: [B]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMel(EncoderDefaults):
    """Log-Mel filter banks, with or without deltas and pooling over time."""

    bands: int
    """Number of Mel bands."""
    deltas: bool
    """Whether deltas and delta-deltas are appended."""
    pool: int
    """Frames of 10 ms that one stored frame averages."""

    @property
    def modality(self) -> Modality:
        """Waveforms."""
        return "audio"

    @property
    def dimension(self) -> int:
        """The number of bands, times 3 with deltas."""
        return self.bands * (3 if self.deltas else 1)

    @property
    def layers(self) -> tuple[int, ...]:
        """No layer axis."""
        return ()

    @property
    def frame_rate(self) -> float:
        """Frames per second, after pooling."""
        return SAMPLE_RATE / SHIFT / self.pool

    @property
    def sample_rate(self) -> int:
        """16000 Hz."""
        return SAMPLE_RATE

    def identity(self) -> dict[str, Any]:
        """Every setting of the filter banks, the deltas and the pooling."""
        deltas = {"order": 2, "window": _DELTA_WINDOW, "axis": "time"} if self.deltas else None
        return {
            "encoder": "logmel",
            "version": 1,
            "bands": self.bands,
            "fbank": {**FBANK, "scale": "int16", "short_clips": "zeros up to one window"},
            "deltas": deltas,
            "pool": {"frames": self.pool, "kind": "mean", "last": "averages what it has"},
            "precision": "fp32",
        }

    def provenance(self) -> dict[str, Any]:
        """Versions of torch and torchaudio; nothing is learned."""
        libraries = {name: version(name) for name in ("torch", "torchaudio")}
        return {"libraries": libraries, "pretrained_on": None, "fitted_on": []}

    def length(self, item: int | str) -> int:
        """Number of frames of a waveform of `item` samples at 16 kHz."""
        return -(-count_windows(cast(int, item)) // self.pool)

    def encode(self, items: Sequence[Array] | Sequence[str]) -> list[Array]:
        """One array [T_i, D] per waveform [samples at 16 kHz, -1..1]."""
        import torch

        waveforms = [cast(Array, item) for item in items]
        if not waveforms:
            return []
        with torch.inference_mode():
            whole, first, last = _concatenate(waveforms, self.pool)
            frames = banks(whole, self.bands)
            if self.deltas:
                delta = _deltas(frames, first, last)
                frames = torch.cat([frames, delta, _deltas(delta, first, last)], dim=1)
            means = _means(frames, last, self.pool).numpy()
        return [means[a : b + 1].copy() for a, b in zip(first // self.pool, last // self.pool, strict=True)]


def _concatenate(waveforms: Sequence[Array], pool: int) -> tuple[torch.Tensor, Indices, Indices]:
    """All waveforms in one [samples], and the numbers of the first and last window of each utterance [B].

    The first window is a multiple of `pool`, so that a pooling window begins with it. At least four windows before,
    between and after utterances belong to no utterance: no window overlaps two utterances, and `_deltas` and `_means`
    may overwrite the windows next to an utterance.
    """
    import torch

    windows = np.array([count_windows(len(waveform)) for waveform in waveforms])
    widths = -(-(windows + 4 + pool) // pool) * pool
    ends = 4 * pool + np.cumsum(widths)
    first = ends - widths
    blocks = -(-int(ends[-1]) // kaldi_fbank.BLOCK)
    whole = torch.zeros(blocks * kaldi_fbank.BLOCK * SHIFT + WINDOW - SHIFT)
    samples = whole.numpy()
    for waveform, start in zip(waveforms, first * SHIFT, strict=True):
        samples[start : start + len(waveform)] = waveform
    return whole, first, first + windows - 1


def _deltas(frames: torch.Tensor, first: Indices, last: Indices) -> torch.Tensor:
    """Deltas [T, D] of frames [T, D]: regression over two frames to either side (HTK book, eq. 5.16).

    The first and last frame of each utterance are repeated into the unused frames next to it.
    """
    import torch

    for n in (1, 2):
        frames[first - n] = frames[first]
        frames[last + n] = frames[last]
    deltas = torch.zeros_like(frames)
    near, far = frames[3:-1] - frames[1:-3], frames[4:] - frames[:-4]
    torch.add(near, far, alpha=2, out=deltas[2:-2]).div_(10)
    return deltas


def _means(frames: torch.Tensor, last: Indices, width: int) -> torch.Tensor:
    """Means [T // width, D] over each `width` frames of [T, D]; an utterance's last one over its own frames only."""
    import torch

    frames = frames[: len(frames) // width * width]
    for n in range(1, width):
        frames[last + n] = 0
    counts = torch.full((len(frames) // width, 1), float(width))
    counts[last // width, 0] = torch.from_numpy(last % width + 1).float()
    return frames.reshape(-1, width, frames.shape[1]).sum(dim=1).div_(counts)


def _smcn(name: str, options: EncoderOptions) -> LogMel:
    refuse_pretrained_options(name, options)
    return LogMel(bands=26, deltas=True, pool=4 if options.corpus == "meld" else 5)


def _mcfn(options: EncoderOptions) -> LogMel:
    refuse_pretrained_options("logmel-mcfn", options)
    return LogMel(bands=40, deltas=False, pool=1)


for _name, _description in (
    ("logmel-smcn", "26 log-Mel bands with deltas and delta-deltas, pooled to 50 ms (MELD: 40 ms); 78-d"),
    ("logmel", "the same as logmel-smcn"),
):
    _spec = EncoderSpec(modality="audio", feature="logmel", pretrained=False, build=partial(_smcn, _name))
    ENCODERS.add(_name, _description, _spec)
ENCODERS.add(
    "logmel-mcfn",
    "40 static log-Mel bands every 10 ms",
    EncoderSpec(modality="audio", feature="logmel-mcfn", pretrained=False, build=_mcfn),
)
