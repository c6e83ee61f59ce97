"""Several stores as one: what `fit` needs of a store and of a feature, over the corpora of one task.

Utterances stand under joined names (`iemocap:Ses01F_impro01_F000`). The features are those that every store has; one
may be used where it was made in the same way in all of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from typing import Any

import numpy as np

from emofuse.common.lazy import lazy
from emofuse.common.problems import Problems
from emofuse.manifests.joint import corpus_of, joined, joined_name, own_name
from emofuse.manifests.schema import Manifest
from emofuse.store import Feature, FeatureStore, Ragged
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.per_fold_feature import PerFoldFeature, per_fold_features


class JoinedFeature:
    """A feature that every store of a task has; what says how it was made is the first store's."""

    def __init__(self, parts: Mapping[str, Feature]) -> None:
        self.parts = parts
        """By corpus."""
        first = next(iter(parts.values()))
        self.spec, self.name, self.modality, self.encoder = first.spec, first.name, first.modality, first.encoder
        self.dimension, self.layers, self.frame_rate = first.dimension, first.layers, first.frame_rate
        self.fingerprint = first.fingerprint
        self.provenance = {corpus: dict(f.provenance) for corpus, f in parts.items()}
        self.complete = all(f.complete for f in parts.values())
        self.lengths = np.concatenate([f.lengths for f in parts.values()])

    @lazy
    def position(self) -> dict[str, int]:
        """Joined utterance id -> its place in `lengths`."""
        ids = (joined_name(corpus, id) for corpus, f in self.parts.items() for id in f.ids)
        return {id: i for i, id in enumerate(ids)}

    @property
    def stale(self) -> list[str]:
        """Utterances whose audio or text is no longer the one that the values came from."""
        return [joined_name(corpus, id) for corpus, f in self.parts.items() for id in f.stale]

    @property
    def differences(self) -> list[str]:
        """In what the stores' features differ, each with all values; empty: they may stand in one task."""
        made = {corpus: _made(f) for corpus, f in self.parts.items()}
        keys = sorted({key for one in made.values() for key in one})
        values = {key: {corpus: json.dumps(one.get(key)) for corpus, one in made.items()} for key in keys}
        return [
            f"{key}: " + ", ".join(f"{corpus} {value}" for corpus, value in each.items())
            for key, each in values.items()
            if len(set(each.values())) > 1
        ]

    def read(self, ids: Sequence[str]) -> Ragged:
        """The values of joined `ids`, in that order, in one buffer."""
        runs = [(corpus, [own_name(id) for id in run]) for corpus, run in groupby(ids, corpus_of)]
        pieces = [self.parts[corpus].read(own) for corpus, own in runs]
        return Ragged(np.concatenate([p.values for p in pieces]), np.concatenate([p.lengths for p in pieces]))


def _made(feature: Feature) -> dict[str, Any]:
    """What `extract` compares before it adds to a feature, and the shape of its frames."""
    shape = {"modality": feature.modality, "width": feature.dimension, "layer axis": list(feature.layers)}
    return {**feature.fingerprint, **shape, "dtype": feature.spec.dtype}


class JoinedStore:
    """The open stores of a task, those that are trained on by corpus, then the one that is only tested on."""

    def __init__(self, training: Sequence[FeatureStore], test: FeatureStore | None = None) -> None:
        ordered = sorted(training, key=lambda s: s.corpus)
        self.options = [("--store", s) for s in ordered] + ([("--test-store", test)] if test else [])
        """Every store with the option that names it."""
        self.parts: dict[str, FeatureStore] = {}
        """By corpus."""
        for _, store in self.options:
            self.parts.setdefault(store.corpus, store)
        self.path = " + ".join(str(s.path) for _, s in self.options)

    @lazy
    def manifest(self) -> Manifest:
        """Every utterance of every store, under joined names."""
        return joined(s.manifest for s in self.parts.values())

    @lazy
    def features(self) -> dict[str, JoinedFeature]:
        """Those that every store has, by name."""
        common = set.intersection(*(set(s.features) for s in self.parts.values()))
        return {n: JoinedFeature({c: s.features[n] for c, s in self.parts.items()}) for n in sorted(common)}


AnyStore = FeatureStore | JoinedStore
AnyFeature = Feature | JoinedFeature | PerFoldFeature


def parts(store: AnyStore) -> list[FeatureStore]:
    """The stores behind a store: itself, or those that it joins."""
    return [*store.parts.values()] if isinstance(store, JoinedStore) else [store]


def held_by(store: FeatureStore, feature: AnyFeature) -> Sequence[Feature]:
    """A feature as one of the stores behind it holds it: one, or one for each fold."""
    if isinstance(feature, PerFoldFeature):
        return feature.parts
    return (feature.parts[store.corpus] if isinstance(feature, JoinedFeature) else feature,)


def offered(store: AnyStore) -> dict[str, AnyFeature]:
    """What a model may be fitted on, by name; a feature in parts stands there once, and its parts do not."""
    if isinstance(store, JoinedStore):
        return dict(store.features)
    whole = per_fold_features(store)
    single = {part.name for feature in whole.values() for part in feature.parts}
    return {**{n: f for n, f in store.features.items() if n not in single}, **whole}


@contextmanager
def open_stores(config: FitConfig) -> Iterator[AnyStore]:
    """Open all that a call names; as one, where there are several.

    Raises:
        UsageError: Every path that is no store.
        DataError: The first one that is damaged.
    """
    problems, opened = Problems(), []
    tested = [config.test_store] if config.test_store else []
    with ExitStack() as stack:
        for path in (config.store, *config.more_stores, *tested):
            with problems.noting():
                opened.append(stack.enter_context(FeatureStore(path)))
        problems.stop()
        if len(opened) == 1:
            yield opened[0]
        else:
            yield JoinedStore(opened[: len(opened) - len(tested)], opened[-1] if tested else None)
