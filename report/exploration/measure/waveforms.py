"""What the audio behind a store sounds like, in numbers: noise, clipping, level, offset, silence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.output.progress import Progress
from emofuse.common.system.machine import usable_cores
from emofuse.extract.audio.clips import AudioError, load, probe
from emofuse.report.exploration.measure.collection import Entry
from emofuse.report.exploration.measure.signal_to_noise import wada_snr

SHORTEST_RUN, TOLERANCE = 3, 1e-4
"""Clipped are samples in runs of at least this many within this share of the clip's largest value."""
QUIETEST_PEAK = 0.01
"""A clip whose largest value is below (-40 dBFS) is not searched for clipping: its steps are too coarse."""
CLIPPED = 1e-3
"""Share of clipped samples from which a clip is marked."""
FRAME, SILENT = 0.025, 40.0
"""Seconds of a frame, and dB below the loudest frame from which one counts as silence."""
FLOOR = -120.0
"""dBFS, of digital silence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipMeasures:
    """Measures of one clip, of the mean of its channels at the file's own sampling rate."""

    snr: float | None
    """dB, estimated by WADA-SNR from the first to the last frame that is not silent; None if all are."""
    clipped: float
    """Share of samples, 0..1."""
    peak: float
    """dBFS."""
    level: float
    """RMS in dBFS."""
    offset: float
    """Mean of the samples, as a share of full scale."""
    silence: float
    """Share of frames, 0..1."""
    sampling_rate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredAudio:
    """The measured clips of a collection."""

    by_id: dict[str, ClipMeasures] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    """Id -> why a clip could not be read."""
    changed: tuple[str, ...] = ()
    """Ids whose audio is not the one that the store was made from."""
    without_audio: int = 0
    """Utterances that name no audio file."""


def measure(waveform: NDArray[np.float32], sampling_rate: int) -> ClipMeasures:
    """The measures of a mono waveform [N] in -1..1."""
    largest = float(np.abs(waveform).max(initial=0.0))
    level = float(np.sqrt(np.mean(waveform.astype(np.float64) ** 2)))
    return ClipMeasures(
        snr=wada_snr(spoken_part(waveform, sampling_rate)),
        clipped=clipped_share(waveform, largest),
        peak=_decibels(largest),
        level=_decibels(level),
        offset=round(float(waveform.mean(dtype=np.float64)), 6) + 0.0,  # not -0
        silence=silent_share(waveform, sampling_rate),
        sampling_rate=sampling_rate,
    )


def clipped_share(waveform: NDArray[Any], largest: float) -> float:
    """The share of samples in flat tops of the waveform [N]: runs at its largest value, of either sign."""
    if largest < QUIETEST_PEAK:
        return 0.0
    clipped = 0
    for signed in (waveform, -waveform):
        at_top = signed >= largest * (1 - TOLERANCE)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], at_top, [False]])))
        runs = edges[1::2] - edges[::2]
        clipped += int(runs[runs >= SHORTEST_RUN].sum())
    return clipped / len(waveform)


def silent_share(waveform: NDArray[Any], sampling_rate: int) -> float:
    """The share of frames that are at least `SILENT` dB quieter than the loudest one."""
    return float(_silent_frames(waveform, sampling_rate)[0].mean())


def spoken_part(waveform: NDArray[Any], sampling_rate: int) -> NDArray[Any]:
    """A waveform [N] without the silent frames at its ends, whose length was the editor's choice."""
    silent, width = _silent_frames(waveform, sampling_rate)
    spoken = np.flatnonzero(~silent)
    return waveform[spoken[0] * width : (spoken[-1] + 1) * width] if len(spoken) else waveform


def _silent_frames(waveform: NDArray[Any], sampling_rate: int) -> tuple[NDArray[np.bool_], int]:
    """Whether each whole frame is silent, and its number of samples."""
    width = min(max(1, round(FRAME * sampling_rate)), len(waveform))
    frames = waveform[: len(waveform) // width * width].reshape(-1, width).astype(np.float64)
    power = (frames**2).mean(1)
    return power <= power.max() * 10 ** (-SILENT / 10), width


def _decibels(amplitude: float) -> float:
    return max(FLOOR, round(20 * float(np.log10(max(amplitude, 1e-12))), 2)) + 0.0  # not -0


def measure_all(entries: Sequence[Entry], roots: Mapping[str, Path], *, quiet: bool = False) -> MeasuredAudio:
    """The measures of every clip under its corpus's root; each is decoded once and forgotten.

    Args:
        roots: Corpus -> the folder that the paths in its store are relative to.
        quiet: Show no progress.
    """
    with_audio = [e for e in entries if e.utterance.audio is not None and e.corpus in roots]
    by_id: dict[str, ClipMeasures] = {}
    unreadable: dict[str, str] = {}
    changed: list[str] = []

    def read(entry: Entry) -> tuple[ClipMeasures, str] | AudioError:
        u = entry.utterance
        path = roots[entry.corpus] / str(u.audio)
        try:
            clip = probe(path, u.start, u.end)
            return measure(load(path, clip.sample_rate, u.start, u.end), clip.sample_rate), clip.digest
        except AudioError as error:
            return error

    with (
        ThreadPoolExecutor(usable_cores()) as pool,
        Progress(len(with_audio), "measuring audio", "clips", quiet=quiet) as progress,
    ):
        for entry, result in zip(with_audio, pool.map(read, with_audio), strict=True):
            if isinstance(result, AudioError):
                unreadable[entry.id] = str(result)
            else:
                by_id[entry.id] = result[0]
                if entry.utterance.audio_digest not in (None, result[1]):
                    changed.append(entry.id)
            progress.advance()
    return MeasuredAudio(
        by_id=by_id,
        unreadable=unreadable,
        changed=tuple(changed),
        without_audio=sum(e.utterance.audio is None and e.corpus in roots for e in entries),
    )
