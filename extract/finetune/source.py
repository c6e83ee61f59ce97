"""Waveforms or texts of a protocol's utterances in batches, read ahead while the network computes."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import DataError
from emofuse.extract.audio.clips import AudioError, load
from emofuse.manifests.schema import Utterance

Indices = NDArray[np.int64]
_BATCHES_AHEAD = 2
_WINDOW_BATCHES = 16
"""Batches whose utterances are sorted by size together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneSource:
    """The utterances of a protocol with their labels and inputs; n utterances."""

    utterances: tuple[Utterance, ...]
    labels: Indices
    """[n], the class number of each utterance."""
    sizes: Indices
    """[n], milliseconds or characters; batches contain utterances of similar size."""
    root: Path
    """The corpus folder."""
    sample_rate: int | None
    """Hz; None for texts."""
    max_seconds: float
    """Length in seconds to which longer clips are cut."""

    def item(self, index: int) -> Any:
        """The waveform [samples], cut to its first `max_seconds`, or the text of an utterance.

        Raises:
            DataError: The clip can no longer be decoded.
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

    def ahead(self, batches: Iterator[Indices]) -> Generator[tuple[Indices, list[Any]], None, None]:
        """Batches with their items; the next batches are read in the background."""
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:

            def begin(batch: Indices) -> tuple[Indices, list[Future[Any]]]:
                return batch, [pool.submit(self.item, int(i)) for i in batch]

            pending = [begin(batch) for batch in islice(batches, _BATCHES_AHEAD)]
            try:
                while pending:
                    batch, futures = pending.pop(0)
                    pending += [begin(later) for later in islice(batches, 1)]
                    yield batch, [future.result() for future in futures]
            finally:
                pool.shutdown(cancel_futures=True)


def training_batches(sizes: Indices, chosen: Indices, size: int, seed: int, first: int = 0) -> Iterator[Indices]:
    """Endless training batches of utterances of similar size.

    Each pass shuffles the utterances by the seed and the number of the pass. Windows of at most 16 batches are sorted
    by size and cut into batches, and the order of the batches is shuffled. Utterances that do not fill a batch are left
    out of that pass.

    Args:
        sizes: Size of every utterance, [n].
        chosen: Indices of the training utterances.
        size: Utterances per batch; at most as many as are chosen.
        seed: Seed of the shuffling.
        first: Number of the first batch; a resumed training skips the earlier ones.
    """
    size = min(size, len(chosen))
    count = len(chosen) // size
    while True:
        number, skipped = divmod(first, count)
        generator = np.random.default_rng([seed, number])
        order = generator.permutation(chosen)[: count * size]
        step = size * max(1, min(_WINDOW_BATCHES, count // 4))
        batches: list[Indices] = []
        for begin in range(0, len(order), step):
            window = order[begin : begin + step]
            batches += list(window[np.argsort(sizes[window], kind="stable")].reshape(-1, size))
        ordered = [batches[i] for i in generator.permutation(count)]
        yield from ordered[skipped:]
        first += count - skipped


def evaluation_batches(sizes: Indices, chosen: Indices, size: int) -> Iterator[Indices]:
    """Batches of all chosen utterances, longest first, which keeps padding small."""
    ordered = chosen[np.argsort(-sizes[chosen], kind="stable")]
    for begin in range(0, len(ordered), size):
        yield ordered[begin : begin + size]


def sizes_of(utterances: Sequence[Utterance], modality: str) -> Indices:
    """Milliseconds of audio or characters of text of each utterance, [n]."""
    sizes: Mapping[str, Any] = {
        "audio": lambda u: round(1000 * (u.seconds or 0.0)),
        "text": lambda u: len(u.text or ""),
    }
    return np.array([sizes[modality](u) for u in utterances], np.int64)
