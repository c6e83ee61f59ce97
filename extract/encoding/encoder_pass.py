"""A running pass of one encoder: which utterances its features still miss, and how a batch is encoded and written."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from emofuse.common.system.machine import is_out_of_memory
from emofuse.extract.audio.clips import AudioError
from emofuse.extract.encoders.base import Array
from emofuse.extract.encoding.reader import EncoderInput
from emofuse.extract.plan.job import FeatureJob
from emofuse.extract.plan.passes import PassPlan
from emofuse.manifests.schema import Excluded, Utterance
from emofuse.store import FeatureWriter


class DoesNotFitError(Exception):
    """A batch of several utterances did not fit in the device's memory."""

    def __init__(self, jobs: Sequence[FeatureJob]) -> None:
        super().__init__()
        self.jobs = tuple(jobs)


class EncoderPass:
    """A running pass.

    Args:
        plan: Its jobs and batches.
        writers: Feature -> its writer.
    """

    def __init__(self, plan: PassPlan, writers: Mapping[str, FeatureWriter]) -> None:
        self.plan, self.encoder, self.jobs = plan, plan.encoder, plan.jobs
        self._writers = [writers[job.feature] for job in self.jobs]
        self._missing = [set(writer.pending) for writer in self._writers]
        self.pending: set[str] = set().union(*self._missing)
        """Ids that at least one feature misses."""
        # The corpus has the texts that the store may leave out.
        rows = [u for w in self._writers for u in w.manifest.utterances] + list(self.jobs[0].manifest.utterances)
        self.utterances: dict[str, Utterance] = {u.id: u for u in rows}
        # Values that are damaged in the store, of utterances that were not asked for now, come last.
        planned = {id for batch in plan.batches for id in batch}
        unplanned = plan.batches_of({id: self._size(id) for id in sorted(self.pending - planned)})
        self.batches = [batch for batch in (*plan.batches, *unplanned) if not self.pending.isdisjoint(batch)]
        self.too_large: list[Excluded] = []
        """Utterances that do not fit in memory alone, according to the writing thread."""
        self.total = len({id for writer in self._writers for id in writer.lengths})

    def _size(self, id: str) -> int:
        if self.encoder.modality == "audio":
            return round(1000 * (self.utterances[id].seconds or 0.0))
        return self.plan.sizes.get(id) or self.encoder.length(self.utterances[id].text or "")

    def work(self, ids: Sequence[str]) -> float:
        """The cost of a batch: milliseconds or tokens."""
        return float(sum(self._size(id) for id in ids))

    def audio_seconds(self, ids: Sequence[str]) -> float:
        """Seconds of audio of a batch; 0 for texts."""
        if self.encoder.modality == "text":
            return 0.0
        return sum(self.utterances[id].seconds or 0.0 for id in ids)

    def features_without(self, id: str) -> list[str]:
        """The features that miss an utterance."""
        return [job.feature for job, missing in zip(self.jobs, self._missing, strict=True) if id in missing]

    def encode(
        self, ids: Sequence[str], items: Sequence[EncoderInput], write: Callable[[Callable[[], None]], None]
    ) -> list[Excluded]:
        """Encode a batch, and let `write` have its values written by another thread.

        Args:
            ids: The utterances of the batch.
            items: Their waveforms or texts, or why there is none.
            write: Takes a function that waits for the values and writes them.

        Returns:
            The pending utterances that cannot be read, or one that does not fit in memory by itself.

        Raises:
            DoesNotFitError: Several utterances do not fit in memory together; the function given to `write` raises it
                too.
        """
        excluded = [
            self._excluded(id, str(item))
            for id, item in zip(ids, items, strict=True)
            if isinstance(item, AudioError) and id in self.pending
        ]
        readable = {id: item for id, item in zip(ids, items, strict=True) if not isinstance(item, AudioError)}
        if readable:
            started = time.monotonic()
            fetch = self._start(list(readable.values()))
            seconds = time.monotonic() - started
            if fetch is None:
                excluded.append(self._too_large(list(readable)))
            else:
                write(partial(self._write, list(readable), fetch, seconds))
        return excluded

    def _start(self, items: Sequence[Any]) -> Callable[[], list[Array]] | None:
        """Start to encode; returns a function that waits for the values, or None where memory does not suffice."""
        try:
            return self.encoder.begin(items)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _write(self, ids: Sequence[str], fetch: Callable[[], list[Array]], seconds: float) -> None:
        """On the writing thread: wait for the values of a batch, and write what each feature misses of them.

        Args:
            seconds: How long the start of the batch has taken.
        """
        started = time.monotonic()
        try:
            encoded = fetch()
        except (RuntimeError, MemoryError) as error:  # a GPU may run out of memory as late as this
            if not is_out_of_memory(error):
                raise
            self.too_large.append(self._too_large(ids))
            return
        share = (seconds + time.monotonic() - started) / max(self.work(ids), 1)
        for id, values in zip(ids, encoded, strict=True):
            for job, writer, missing in zip(self.jobs, self._writers, self._missing, strict=True):
                if id in missing:
                    writer.put(id, job.stored_values(values), share * max(self._size(id), 1))

    def _too_large(self, ids: Sequence[str]) -> Excluded:
        """The only utterance of a batch that did not fit in memory.

        Raises:
            DoesNotFitError: The batch has several.
        """
        if len(ids) > 1:
            raise DoesNotFitError(self.jobs)
        return self._excluded(ids[0], f"does not fit in the memory of {self.jobs[0].device}")

    def _excluded(self, id: str, why: str) -> Excluded:
        modality = self.encoder.modality
        return Excluded(id=id, reason=f"{modality}: {why}", modality=modality)
