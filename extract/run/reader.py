"""Decodes ahead of the encoders: each clip once, however many encoders read it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emofuse.extract.corpus.audio import AudioError, load
from emofuse.manifests.schema import Utterance

MOST_READERS = 16
EncoderInput = NDArray[np.float32] | str | AudioError
"""A waveform [samples], a text, or why there is none."""


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """A batch that one of the encoders takes."""

    number: int
    """Which of the encoders."""
    ids: Sequence[str]
    sample_rate: int | None
    """Hz of the waveforms that it wants; none: it reads texts."""


@contextmanager
def decoded(
    turns: Sequence[BatchRequest], utterances: Mapping[str, Utterance], root: Path, *, beside: bool
) -> Iterator[Iterator[tuple[BatchRequest, list[EncoderInput]]]]:
    """The turns with their waveforms or texts; the next one is decoded while this one is encoded.

    Args:
        beside: Whether the encoders leave the processor to the readers, because they run on a GPU.
    """

    def decode(id: str, sample_rate: int | None) -> EncoderInput:
        utterance = utterances[id]
        if sample_rate is None:
            return AudioError("it is left out of the store") if utterance.text is None else utterance.text
        assert utterance.audio is not None
        try:
            return load(root / utterance.audio, sample_rate, utterance.start, utterance.end)
        except AudioError as error:
            return error

    uses = Counter((id, turn.sample_rate) for turn in turns for id in turn.ids)
    held: dict[tuple[str, int | None], Future[EncoderInput]] = {}
    cores = os.cpu_count() or 1
    pool = ThreadPoolExecutor(min(MOST_READERS if beside else 4, cores), thread_name_prefix="reader")

    def ask(turn: BatchRequest) -> None:
        for id in turn.ids:
            key = (id, turn.sample_rate)
            if key not in held:
                held[key] = pool.submit(decode, *key)

    def take(turn: BatchRequest) -> list[EncoderInput]:
        items = [held[id, turn.sample_rate].result() for id in turn.ids]
        for id in turn.ids:
            key = (id, turn.sample_rate)
            uses[key] -= 1
            if not uses[key]:
                del held[key]
        return items

    def go() -> Iterator[tuple[BatchRequest, list[EncoderInput]]]:
        for turn in turns[:1]:
            ask(turn)
        for i, turn in enumerate(turns):
            for following in turns[i + 1 : i + 2]:
                ask(following)
            yield turn, take(turn)

    try:
        yield go()
    finally:
        pool.shutdown(cancel_futures=True)
