"""Decodes clips ahead of the encoders: each clip once, however many encoders read it."""

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

from emofuse.extract.audio.augmentation import Augmentation
from emofuse.extract.audio.augmented_waveform import augmented
from emofuse.extract.audio.channels import Channel
from emofuse.extract.audio.clips import AudioError, load
from emofuse.manifests.schema import Utterance

MOST_READERS, MOST_READERS_BESIDE_CPU = 16, 4
"""Threads that decode: on a CPU they compete with the encoders."""
EncoderInput = NDArray[np.float32] | str | AudioError
"""A waveform [samples], a text, or why there is none."""
InputKey = tuple[str, int | None, Channel, Augmentation | None]
"""An utterance id, the sampling rate, the channel and the augmentation."""


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """A batch for one of the passes."""

    pass_number: int
    ids: Sequence[str]
    sample_rate: int | None
    """Hz of the waveforms that its encoder reads; None for an encoder of texts."""
    channel: Channel = "mean"
    """What it reads of several channels."""
    augmentation: Augmentation | None = None
    """How the waveforms are changed, for an augmented copy."""

    @property
    def keys(self) -> list[InputKey]:
        """What tells its inputs apart."""
        return [(id, self.sample_rate, self.channel, self.augmentation) for id in self.ids]


@contextmanager
def read_ahead(
    requests: Sequence[BatchRequest], utterances: Mapping[str, Utterance], root: Path, *, on_gpu: bool
) -> Iterator[Iterator[tuple[BatchRequest, list[EncoderInput]]]]:
    """The requests with their waveforms or texts; while one batch is encoded, the next one is decoded.

    Args:
        requests: In the order in which they are encoded.
        utterances: By id.
        root: The folder that audio paths are relative to.
        on_gpu: Whether the encoders run on a GPU and leave the CPU to the readers.
    """
    most = MOST_READERS if on_gpu else MOST_READERS_BESIDE_CPU
    pool = ThreadPoolExecutor(min(most, os.cpu_count() or 1), thread_name_prefix="reader")
    try:
        yield _in_turn(requests, _SharedInputs(requests, utterances, root, pool))
    finally:
        pool.shutdown(cancel_futures=True)


def _in_turn(
    requests: Sequence[BatchRequest], inputs: _SharedInputs
) -> Iterator[tuple[BatchRequest, list[EncoderInput]]]:
    for request in requests[:1]:
        inputs.prepare(request)
    for i, request in enumerate(requests):
        for following in requests[i + 1 : i + 2]:
            inputs.prepare(following)
        yield request, inputs.take(request)


class _SharedInputs:
    """Inputs in memory, from the first request that needs them to the last."""

    def __init__(
        self,
        requests: Sequence[BatchRequest],
        utterances: Mapping[str, Utterance],
        root: Path,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._utterances, self._root, self._pool = utterances, root, pool
        self._uses_left = Counter(key for request in requests for key in request.keys)
        self._inputs: dict[InputKey, Future[EncoderInput]] = {}

    def prepare(self, request: BatchRequest) -> None:
        """Start to read the inputs of a request."""
        for key in request.keys:
            if key not in self._inputs:
                self._inputs[key] = self._pool.submit(self._read, *key)

    def take(self, request: BatchRequest) -> list[EncoderInput]:
        """Wait for the inputs of a request; those that no other request needs are dropped from memory."""
        items = [self._inputs[key].result() for key in request.keys]
        for key in request.keys:
            self._uses_left[key] -= 1
            if not self._uses_left[key]:
                del self._inputs[key]
        return items

    def _read(
        self, id: str, sample_rate: int | None, channel: Channel, augmentation: Augmentation | None
    ) -> EncoderInput:
        utterance = self._utterances[id]
        if sample_rate is None:
            return AudioError("the store keeps only a digest of it") if utterance.text is None else utterance.text
        assert utterance.audio is not None
        try:
            waveform = load(self._root / utterance.audio, sample_rate, utterance.start, utterance.end, channel)
        except AudioError as error:
            return error
        return augmented(waveform, sample_rate, id, augmentation) if augmentation else waveform
