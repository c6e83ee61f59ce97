"""One encoder's pass under way: what is still to be done, and the encoding of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from emofuse.common.system.machine import out_of_memory
from emofuse.extract.corpus.audio import AudioError
from emofuse.extract.encoders.base import Array, Encoder
from emofuse.extract.plan.job import FeatureJob
from emofuse.extract.plan.passes import PassPlan
from emofuse.extract.run.reader import EncoderInput
from emofuse.manifests.schema import Excluded, Utterance
from emofuse.store import FeatureWriter


class DoesNotFitError(Exception):
    """A batch of several utterances did not fit in the device's memory."""

    def __init__(self, jobs: Sequence[FeatureJob]) -> None:
        super().__init__()
        self.jobs = tuple(jobs)


class EncoderPass:
    """A pass under way.

    Args:
        one: The pass.
        writers: Feature -> its writer.
    """

    def __init__(self, one: PassPlan, writers: Mapping[str, FeatureWriter]) -> None:
        self.one, self.encoder = one, one.encoder
        self.jobs = one.jobs
        self._writers = [writers[job.feature] for job in self.jobs]
        self._lacking = [set(writer.pending) for writer in self._writers]
        self.pending: set[str] = set().union(*self._lacking)
        """Ids that a feature at least still lacks."""
        # The corpus has the texts that the store may leave out.
        known = [u for w in self._writers for u in w.manifest.utterances] + list(self.jobs[0].manifest.utterances)
        self.utterances: dict[str, Utterance] = {u.id: u for u in known}
        # What is not asked for now, but was damaged in the store, goes last.
        planned = {id for batch in one.batches for id in batch}
        more = one.planned({id: self._size(id) for id in sorted(self.pending - planned)})
        self.batches = [b for b in (*one.batches, *more) if not self.pending.isdisjoint(b)]
        self.late: list[Excluded] = []
        """What did not fit in memory by itself, found while its values were fetched."""
        self.total = len({id for writer in self._writers for id in writer.lengths})

    def _size(self, id: str) -> int:
        if self.encoder.modality == "audio":
            return round(1000 * (self.utterances[id].seconds or 0.0))
        return self.one.sizes.get(id) or self.encoder.length(self.utterances[id].text or "")

    def work(self, ids: Sequence[str]) -> float:
        """What a batch costs: milliseconds or tokens."""
        return float(sum(self._size(id) for id in ids))

    def lacking(self, id: str) -> list[str]:
        """The features that still lack an utterance."""
        return [job.feature for job, lacks in zip(self.jobs, self._lacking, strict=True) if id in lacks]

    def seconds(self, ids: Sequence[str]) -> float:
        """Audio of a batch; none of a text."""
        if self.encoder.modality == "text":
            return 0.0
        return sum(self.utterances[id].seconds or 0.0 for id in ids)

    def unusable(self, ids: Sequence[str], items: Sequence[EncoderInput]) -> list[Excluded]:
        """What could not be read."""
        pairs = zip(ids, items, strict=True)
        return [self._excluded(id, str(i)) for id, i in pairs if isinstance(i, AudioError) and id in self.pending]

    def _excluded(self, id: str, why: str) -> Excluded:
        modality = self.encoder.modality
        return Excluded(id=id, reason=f"{modality}: {why}", modality=modality)

    def _too_large(self, id: str) -> Excluded:
        return self._excluded(id, f"does not fit in the memory of {self.jobs[0].device}")

    def begin(self, ids: Sequence[str], items: Sequence[EncoderInput]) -> Callable[[], None] | Excluded | None:
        """Encode a batch; what is left to do for another thread, which writes it, or what alone does not fit.

        Raises:
            DoesNotFitError: Several utterances do not fit in memory together; what is left to do raises it, too.
        """
        usable = [(id, item) for id, item in zip(ids, items, strict=True) if not isinstance(item, AudioError)]
        if not usable:
            return None
        fetch = _begin(self.encoder, [item for _, item in usable])
        if fetch is None:
            if len(usable) > 1:
                raise DoesNotFitError(self.one.jobs)
            return self._too_large(usable[0][0])

        def finish() -> None:
            try:
                encoded = fetch()
            except (RuntimeError, MemoryError) as error:  # a GPU may say so as late as this
                if not out_of_memory(error):
                    raise
                if len(usable) > 1:
                    raise DoesNotFitError(self.one.jobs) from error
                self.late.append(self._too_large(usable[0][0]))
                return
            for (id, _), values in zip(usable, encoded, strict=True):
                for job, writer, lacks in zip(self.jobs, self._writers, self._lacking, strict=True):
                    if id in lacks:
                        writer.put(id, job.of(values))

        return finish


def _begin(encoder: Encoder, items: Sequence[Any]) -> Callable[[], list[Array]] | None:
    """Start to encode; a function that waits for the values, or none where memory does not suffice."""
    begin = getattr(encoder, "begin", None)
    try:
        if begin is not None:
            started: Callable[[], list[Array]] = begin(items)
            return started
        values = encoder.encode(items)
        return lambda: values
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        return None
