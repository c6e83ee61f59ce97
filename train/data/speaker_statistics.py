"""Features standardised by each speaker's own mean and deviation, over all clips that the store has of the speaker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from emofuse.train.data.ragged import Pool, RaggedModality
from emofuse.train.data.read_modality import Readable, read_modality


def standardised_by_speaker(
    buffer: RaggedModality,
    speakers: Sequence[str],
    clips: Mapping[str, Sequence[str]],
    feature: Readable,
    limit: int | None,
    pool: Pool,
) -> RaggedModality:
    """The same utterances, each standardised by its speaker's statistics; float32.

    Args:
        buffer: In memory.
        speakers: [n], the speaker of each utterance of the buffer.
        clips: Speaker -> the ids of all clips; one without a value of the feature is left out.
        feature: What the buffer was read from.
        limit: Frames of an utterance at most, as the buffer was read.
        pool: As the buffer was read.
    """
    values = buffer.values.float()
    spans: dict[str, list[tuple[int, int]]] = {}
    for speaker, start, length in zip(speakers, buffer.starts.tolist(), buffer.lengths.tolist(), strict=True):
        spans.setdefault(speaker, []).append((start, length))
    usable = set(feature.position) - set(feature.stale)
    for speaker, of_speaker in spans.items():
        ids = [id for id in clips[speaker] if id in usable]
        whole = read_modality(feature, ids, values.device, limit, pool)
        mean, deviation = whole.statistics(np.arange(len(ids)))
        for start, length in of_speaker:
            values[start : start + length].sub_(mean).div_(deviation)
    return replace(buffer, values=values)
