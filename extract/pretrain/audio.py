"""A folder of audio as pre-training sees it: its recordings, and batches of patches, near ones and strangers."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import torch

from emofuse.common.errors import DataError, UsageError
from emofuse.common.progress import Progress
from emofuse.extract.corpus.audio import AudioError, Clip, load, probe
from emofuse.extract.encoders.blocks.audioset import PATCH, PATCH_SAMPLES, SAMPLE_RATE, SHIFT, log_mel
from emofuse.extract.encoders.blocks.trill_network import FRONT_END
from emofuse.extract.pretrain.config import PretrainSettings
from emofuse.manifests.schema import Excluded

SUFFIXES = (
    ".wav", ".flac", ".ogg", ".opus", ".mp3", ".mp4", ".m4a", ".aac", ".webm", ".wma", ".aif", ".aiff", ".au", ".caf",
)  # fmt: skip
"""What a file of audio is told by; how it is read, its content decides."""
PATCH_SECONDS = PATCH_SAMPLES / SAMPLE_RATE
_AHEAD = 2
_KEPT_BYTES = 1 << 30  # ten hours of spectra


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One usable file."""

    name: str
    """Its path from the folder, with forward slashes."""
    clip: Clip


@dataclass(frozen=True, slots=True, kw_only=True)
class TripletBatch:
    """What one step sees: N patches."""

    patches: torch.Tensor
    """[N, 96, 64], log-Mel."""
    recordings: torch.Tensor
    """[N], the number of each patch's recording."""
    seconds: torch.Tensor
    """[N], where in it each patch begins."""


def survey(folder: Path, quiet: bool = False) -> tuple[list[Recording], list[Excluded]]:
    """Every file of audio below a folder that has one patch or more, and the others with reasons; both by name.

    Raises:
        UsageError: There is no such folder, no audio in it, or fewer than two recordings that can be used.
    """
    if not folder.is_dir():
        there = "a file" if folder.exists() else "nothing there"
        raise UsageError(f"--audio {folder}: expected a folder of audio, found {there}")
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
    if not paths:
        raise UsageError(f"--audio {folder} holds no audio: looked for {', '.join(SUFFIXES)} in it and below")
    usable: dict[str, Recording] = {}
    excluded = []
    with Progress(len(paths), "looking at audio", "files", quiet=quiet) as bar, ThreadPoolExecutor() as pool:
        for path, found in zip(paths, pool.map(_look, paths), strict=True):
            name = path.relative_to(folder).as_posix()
            if isinstance(found, Clip) and found.digest in usable:
                # It would be taken for a stranger to itself.
                excluded.append(Excluded(id=name, reason=f"the same bytes as {usable[found.digest].name}"))
            elif isinstance(found, Clip):
                usable[found.digest] = Recording(name=name, clip=found)
            else:
                excluded.append(Excluded(id=name, reason=found))
            bar.advance()
    if len(usable) < 2:
        said = "".join(f"\n  - {e.id}: {e.reason}" for e in excluded[:20])
        raise UsageError(
            f"--audio {folder} holds {len(usable)} recordings that can be used, expected 2 or more: the negative of a "
            f"triplet comes from another one{said}"
        )
    return list(usable.values()), excluded


def _look(path: Path) -> Clip | str:
    try:
        clip = probe(path)
    except AudioError as error:
        return str(error)
    if clip.seconds < PATCH_SECONDS:
        return f"lasts {clip.seconds:.2f} s, shorter than one patch ({PATCH_SECONDS:g} s)"
    return clip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """Part of a recording in which any two patches begin at most tau apart."""

    recording: int
    start: float
    end: float | None


class Patches:
    """Batches that follow from the seed and the number of the step alone, read ahead while the network works.

    Args:
        folder: Where the recordings lie.
        recordings: Which they are.
        settings: How many patches a batch has, and how near they lie.
    """

    def __init__(self, folder: Path, recordings: list[Recording], settings: PretrainSettings) -> None:
        self.folder, self.recordings, self.settings = folder, recordings, settings
        self.pieces = [p for n, r in enumerate(recordings) for p in _pieces(n, r.clip.seconds, settings.tau)]
        self._kept: dict[int, torch.Tensor] = {}
        self._bytes = 0

    def batches(self, first: int) -> Iterator[TripletBatch]:
        """Batches without end, from the step of that number on.

        Raises:
            DataError: A recording cannot be decoded though it could be a moment ago.
        """
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            waiting: deque[Future[TripletBatch]] = deque()
            try:
                for step in count(first):
                    waiting.append(pool.submit(self.batch, step))
                    if len(waiting) > _AHEAD:
                        yield waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def batch(self, step: int) -> TripletBatch:
        """The batch of one step: `batch` pieces, `patches` of each wherever they begin in it."""
        generator = np.random.default_rng([self.settings.seed, step])
        size = min(self.settings.batch, len(self.pieces))
        chosen = generator.choice(len(self.pieces), size, replace=False)
        places = generator.random((size, self.settings.patches))
        patches, recordings, seconds = [], [], []
        for number, drawn in zip(chosen.tolist(), places, strict=True):
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
        """Log-Mel bands [T, 64] of a piece, T at least a patch; the first gigabyte of them stays in memory."""
        if number in self._kept:
            return self._kept[number]
        piece = self.pieces[number]
        path = self.folder / self.recordings[piece.recording].name
        try:
            waveform = load(path, SAMPLE_RATE, piece.start or None, piece.end)
        except AudioError as error:
            raise DataError(f"{path} {error}") from None
        filled = np.pad(waveform, (0, max(0, PATCH_SAMPLES - len(waveform))))
        spectrum = log_mel(filled, FRONT_END.offset)
        if self._bytes < _KEPT_BYTES:
            self._kept[number] = spectrum
            self._bytes += spectrum.nbytes
        return spectrum


def _pieces(recording: int, seconds: float, tau: float) -> list[_Piece]:
    """A recording in pieces of tau, each with a patch more, so that every patch lies in one of them."""
    number = max(1, int(np.ceil((seconds - PATCH_SECONDS) / tau)))
    ends = [(k + 1) * tau + PATCH_SECONDS for k in range(number - 1)]
    return [_Piece(recording=recording, start=k * tau, end=end) for k, end in enumerate([*ends, None])]
