"""A feature of several stores as one, with joined utterance ids."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from emofuse.common.lazy import lazy_property
from emofuse.manifests.names.joint import corpus_of, joined_name, own_name
from emofuse.store import Feature, Ragged


class JoinedFeature:
    """A feature that every store of a task has.

    `spec`, `encoder`, `fingerprint` and other metadata are those of the first store.
    """

    def __init__(self, members: Mapping[str, Feature]) -> None:
        self.members = members
        """Corpus -> the feature in the store of that corpus."""
        first = next(iter(members.values()))
        self.spec, self.name, self.modality, self.encoder = first.spec, first.name, first.modality, first.encoder
        self.dimension, self.layers, self.frame_rate = first.dimension, first.layers, first.frame_rate
        self.fingerprint = first.fingerprint
        self.provenance = {corpus: dict(f.provenance) for corpus, f in members.items()}
        self.complete = all(f.complete for f in members.values())
        self.lengths = np.concatenate([f.lengths for f in members.values()])

    @lazy_property
    def position(self) -> dict[str, int]:
        """Joined utterance id -> its index in `lengths`."""
        ids = (joined_name(corpus, id) for corpus, f in self.members.items() for id in f.ids)
        return {id: i for i, id in enumerate(ids)}

    @property
    def stale(self) -> list[str]:
        """Joined ids of utterances whose audio or text has changed since their values were extracted."""
        return [joined_name(corpus, id) for corpus, f in self.members.items() for id in f.stale]

    @property
    def differences(self) -> list[str]:
        """The settings in which the stores' features differ, with each store's value; empty where they agree."""
        settings = {corpus: _extraction_settings(f) for corpus, f in self.members.items()}
        keys = sorted({key for of_corpus in settings.values() for key in of_corpus})
        values = {
            key: {corpus: json.dumps(of_corpus.get(key)) for corpus, of_corpus in settings.items()} for key in keys
        }
        return [
            f"{key}: " + ", ".join(f"{corpus} {value}" for corpus, value in by_corpus.items())
            for key, by_corpus in values.items()
            if len(set(by_corpus.values())) > 1
        ]

    def encoder_seconds(self, ids: Sequence[str]) -> float | None:
        """How long the encoders took for joined `ids`; None unless that is recorded of each."""
        of_corpus: dict[str, list[str]] = {}
        for id in ids:
            of_corpus.setdefault(corpus_of(id), []).append(own_name(id))
        found = [self.members[corpus].encoder_seconds(own) for corpus, own in of_corpus.items()]
        return None if None in found else sum(filter(None, found))

    def read(self, ids: Sequence[str]) -> Ragged:
        """The values of joined `ids`, in that order: frames [sum T, D] or [sum T, L, D], and lengths [n]."""
        runs = [(corpus, [own_name(id) for id in run]) for corpus, run in groupby(ids, corpus_of)]
        pieces = [self.members[corpus].read(own_ids) for corpus, own_ids in runs]
        return Ragged(np.concatenate([p.values for p in pieces]), np.concatenate([p.lengths for p in pieces]))


def _extraction_settings(feature: Feature) -> dict[str, Any]:
    """What `extract` compares before it adds to a feature, and the shape of the frames."""
    shape = {"modality": feature.modality, "width": feature.dimension, "layer axis": list(feature.layers)}
    return {**feature.fingerprint, **shape, "dtype": feature.spec.dtype}
