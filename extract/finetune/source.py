"""Waveforms and texts of a corpus by utterance, read ahead while the network works."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import DataError
from emofuse.extract.corpus.audio import AudioError, load
from emofuse.manifests.schema import Utterance

Indices = NDArray[np.int64]
_AHEAD = 2
_WINDOW = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneSource:
    """The utterances of a task and what an encoder reads of them."""

    utterances: tuple[Utterance, ...]
    labels: Indices
    """[n], the class of each."""
    sizes: Indices
    """[n], what batches are sorted by: milliseconds or characters."""
    root: Path
    sample_rate: int | None
    """Of waveforms; none: texts."""
    max_seconds: float

    def item(self, index: int) -> Any:
        """One waveform, cut to its first `max_seconds`, or text.

        Raises:
            DataError: The clip cannot be decoded though it could be a moment ago.
        """
        utterance = self.utterances[index]
        if self.sample_rate is None:
            return utterance.text
        assert utterance.audio is not None
        path = self.root / utterance.audio
        try:
            waveform = load(path, self.sample_rate, utterance.start, utterance.end)
        except AudioError as error:
            raise DataError(f"{path} {error}") from None
        return waveform[: max(1, round(self.max_seconds * self.sample_rate))]

    def ahead(self, batches: Iterator[Indices]) -> Iterator[tuple[Indices, list[Any]]]:
        """Batches with their items; the next ones are read meanwhile."""
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:

            def begin(batch: Indices) -> tuple[Indices, list[Future[Any]]]:
                return batch, [pool.submit(self.item, int(i)) for i in batch]

            waiting = [begin(batch) for batch in islice(batches, _AHEAD)]
            try:
                while waiting:
                    batch, futures = waiting.pop(0)
                    waiting += [begin(later) for later in islice(batches, 1)]
                    yield batch, [future.result() for future in futures]
            finally:
                pool.shutdown(cancel_futures=True)


def training_batches(sizes: Indices, chosen: Indices, size: int, seed: int, first: int = 0) -> Iterator[Indices]:
    """Batches of equal size without end, each of similar sizes, from the one numbered `first` on.

    Every pass shuffles `chosen` anew, by the seed and the number of the pass alone; windows of at most 16 batches are
    sorted by size and cut into batches, whose order is shuffled again. What fills no batch waits for another pass.
    """
    size = min(size, len(chosen))
    count = len(chosen) // size
    while True:
        number, skipped = divmod(first, count)
        generator = np.random.default_rng([seed, number])
        order = generator.permutation(chosen)[: count * size]
        step = size * max(1, min(_WINDOW, count // 4))
        batches: list[Indices] = []
        for begin in range(0, len(order), step):
            window = order[begin : begin + step]
            batches += list(window[np.argsort(sizes[window], kind="stable")].reshape(-1, size))
        ordered = [batches[i] for i in generator.permutation(count)]
        yield from ordered[skipped:]
        first += count - skipped


def evaluation_batches(sizes: Indices, chosen: Indices, size: int) -> Iterator[Indices]:
    """All of `chosen`, longest first, so that little is padding."""
    ordered = chosen[np.argsort(-sizes[chosen], kind="stable")]
    for begin in range(0, len(ordered), size):
        yield ordered[begin : begin + size]


def sizes_of(utterances: Sequence[Utterance], modality: str) -> Indices:
    """Milliseconds of audio, or characters of text."""
    sizes: Mapping[str, Any] = {
        "audio": lambda u: round(1000 * (u.seconds or 0.0)),
        "text": lambda u: len(u.text or ""),
    }
    return np.array([sizes[modality](u) for u in utterances], np.int64)
