"""The recordings in a folder of audio, and batches of their patches for the triplet loss."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import torch

from emofuse.common.errors import DataError, UsageError
from emofuse.common.output.progress import Progress
from emofuse.extract.audio.audio_files import SUFFIXES, audio_files
from emofuse.extract.audio.clips import AudioError, Clip, load, probe
from emofuse.extract.encoders.blocks.audioset_logmel import PATCH, PATCH_SAMPLES, SAMPLE_RATE, SHIFT, log_mel
from emofuse.extract.encoders.networks.trill_network import FRONT_END
from emofuse.extract.pretrain.config import PretrainSettings
from emofuse.manifests.schema import Excluded

PATCH_SECONDS = PATCH_SAMPLES / SAMPLE_RATE
_BATCHES_AHEAD = 2
_CACHE_BYTES = 1 << 30  # ten hours of spectra


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One usable audio file."""

    name: str
    """Path relative to the folder, with forward slashes."""
    clip: Clip


@dataclass(frozen=True, slots=True, kw_only=True)
class TripletBatch:
    """The N patches of one step."""

    patches: torch.Tensor
    """[N, 96, 64], log-Mel."""
    recordings: torch.Tensor
    """[N], the number of each patch's recording."""
    seconds: torch.Tensor
    """[N], start of each patch in its recording, in seconds."""


def find_recordings(folder: Path, quiet: bool = False) -> tuple[list[Recording], list[Excluded]]:
    """The audio files in a folder and its subfolders that have at least one patch, and the excluded ones, by name.

    Raises:
        UsageError: There is no such folder, no audio in it, or fewer than two recordings that can be used.
    """
    if not folder.is_dir():
        actual = "a file" if folder.exists() else "nothing there"
        raise UsageError(f"--audio {folder}: expected a folder of audio, found {actual}")
    paths = audio_files(folder)
    if not paths:
        raise UsageError(
            f"--audio {folder} contains no audio: looked for {', '.join(SUFFIXES)} in it and its subfolders"
        )
    usable: dict[str, Recording] = {}
    excluded = []
    with Progress(len(paths), "scanning audio", "files", quiet=quiet) as bar, ThreadPoolExecutor() as pool:
        for path, result in zip(paths, pool.map(_scan, paths), strict=True):
            name = path.relative_to(folder).as_posix()
            if isinstance(result, Clip) and result.digest in usable:
                # A second copy would serve as a negative of the first.
                excluded.append(Excluded(id=name, reason=f"the same bytes as {usable[result.digest].name}"))
            elif isinstance(result, Clip):
                usable[result.digest] = Recording(name=name, clip=result)
            else:
                excluded.append(Excluded(id=name, reason=result))
            bar.advance()
    if len(usable) < 2:
        reasons = "".join(f"\n  - {e.id}: {e.reason}" for e in excluded[:20])
        raise UsageError(
            f"--audio {folder} holds {len(usable)} recordings that can be used, expected 2 or more: the negative of a "
            f"triplet comes from another recording{reasons}"
        )
    return list(usable.values()), excluded


def _scan(path: Path) -> Clip | str:
    """The clip, or why it is excluded."""
    try:
        clip = probe(path)
    except AudioError as error:
        return str(error)
    if clip.seconds < PATCH_SECONDS:
        return f"lasts {clip.seconds:.2f} s, shorter than one patch ({PATCH_SECONDS:g} s)"
    return clip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """A section of a recording, in seconds, in which any two patches start at most tau apart."""

    recording: int
    start: float
    end: float | None


class Patches:
    """Batches that follow from the seed and the number of the step, read ahead while the network computes.

    Args:
        folder: The folder of audio.
        recordings: Its usable recordings.
        settings: How many patches a batch has, and how close in time they are.
    """

    def __init__(self, folder: Path, recordings: list[Recording], settings: PretrainSettings) -> None:
        self.folder, self.recordings, self.settings = folder, recordings, settings
        self.pieces = [p for n, r in enumerate(recordings) for p in _pieces(n, r.clip.seconds, settings.tau)]
        self._cache: dict[int, torch.Tensor] = {}
        self._cached_bytes = 0

    def batches(self, first: int) -> Generator[TripletBatch, None, None]:
        """Endless batches from step `first` on.

        Raises:
            DataError: A recording can no longer be decoded.
        """
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            pending: deque[Future[TripletBatch]] = deque()
            try:
                for step in count(first):
                    pending.append(pool.submit(self.batch, step))
                    if len(pending) > _BATCHES_AHEAD:
                        yield pending.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def batch(self, step: int) -> TripletBatch:
        """The batch of one step: `batch` random pieces with `patches` random patches of each."""
        generator = np.random.default_rng([self.settings.seed, step])
        size = min(self.settings.batch, len(self.pieces))
        chosen = generator.choice(len(self.pieces), size, replace=False)
        positions = generator.random((size, self.settings.patches))
        patches, recordings, seconds = [], [], []
        for number, drawn in zip(chosen.tolist(), positions, strict=True):
            piece, spectrum = self.pieces[number], self._spectrum(number)
            for begin in (drawn * (len(spectrum) - PATCH + 1)).astype(int).tolist():
                patches.append(spectrum[begin : begin + PATCH])
                recordings.append(piece.recording)
                seconds.append(piece.start + begin * SHIFT / SAMPLE_RATE)
        return TripletBatch(
            patches=torch.stack(patches),
            recordings=torch.tensor(recordings),
            seconds=torch.tensor(seconds, dtype=torch.float64),
        )

    def _spectrum(self, number: int) -> torch.Tensor:
        """Log-Mel bands [T, 64] of a piece, at least one patch long; the first gigabyte of spectra is cached."""
        if number in self._cache:
            return self._cache[number]
        piece = self.pieces[number]
        path = self.folder / self.recordings[piece.recording].name
        try:
            waveform = load(path, SAMPLE_RATE, piece.start or None, piece.end)
        except AudioError as error:
            raise DataError(f"{path} {error}") from None
        padded = np.pad(waveform, (0, max(0, PATCH_SAMPLES - len(waveform))))
        spectrum = log_mel(padded, FRONT_END.offset)
        if self._cached_bytes < _CACHE_BYTES:
            self._cache[number] = spectrum
            self._cached_bytes += spectrum.nbytes
        return spectrum


def _pieces(recording: int, seconds: float, tau: float) -> list[_Piece]:
    """Pieces of a recording, tau plus one patch long, so that every patch lies completely in one of them."""
    number = max(1, int(np.ceil((seconds - PATCH_SECONDS) / tau)))
    ends = [(k + 1) * tau + PATCH_SECONDS for k in range(number - 1)]
    return [_Piece(recording=recording, start=k * tau, end=end) for k, end in enumerate([*ends, None])]
