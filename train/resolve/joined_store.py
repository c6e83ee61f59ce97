"""Several stores as one: what `fit` needs of a store and of a feature when a task spans several corpora.

Utterances have joined ids (`iemocap:Ses01F_impro01_F000`). The features are those that every store has; a feature is
usable where all stores extracted it with the same settings.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from typing import Any

import numpy as np

from emofuse.common.lazy import lazy_property
from emofuse.common.problems import Problems
from emofuse.manifests.joint import corpus_of, join_manifests, joined_name, own_name
from emofuse.manifests.schema import Manifest
from emofuse.store import Feature, FeatureStore, Ragged
from emofuse.store.core.augmented import plain_features
from emofuse.train.resolve.combined_feature import CombinedFeature
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.per_fold_feature import PerFoldFeature, per_fold_features


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


class JoinedStore:
    """The open stores of a task: the training stores in the order of their corpora, then the test store."""

    def __init__(self, training: Sequence[FeatureStore], test: FeatureStore | None = None) -> None:
        ordered = sorted(training, key=lambda s: s.corpus)
        self.options = [("--store", s) for s in ordered] + ([("--test-store", test)] if test else [])
        """Every store with the command-line option that names it."""
        self.members: dict[str, FeatureStore] = {}
        """Corpus -> its store."""
        for _, store in self.options:
            self.members.setdefault(store.corpus, store)
        self.path = " + ".join(str(s.path) for _, s in self.options)

    @lazy_property
    def manifest(self) -> Manifest:
        """Every utterance of every store, with joined ids."""
        return join_manifests(s.manifest for s in self.members.values())

    @lazy_property
    def features(self) -> dict[str, JoinedFeature]:
        """The features that every store has, by name, without augmented copies."""
        common = set.intersection(*(set(plain_features(s.features)) for s in self.members.values()))
        return {n: JoinedFeature({c: s.features[n] for c, s in self.members.items()}) for n in sorted(common)}


AnyStore = FeatureStore | JoinedStore
AnyFeature = Feature | JoinedFeature | PerFoldFeature | CombinedFeature


def member_stores(store: AnyStore) -> list[FeatureStore]:
    """The stores that a joined store consists of; a plain store consists of itself."""
    return [*store.members.values()] if isinstance(store, JoinedStore) else [store]


def stored_features(store: FeatureStore, feature: AnyFeature) -> Sequence[Feature]:
    """The features in one member store that `feature` consists of: one, one per fold, or those that are combined."""
    if isinstance(feature, PerFoldFeature):
        return feature.fold_features
    if isinstance(feature, CombinedFeature):
        return [stored for member in feature.members for stored in stored_features(store, member)]
    return (feature.members[store.corpus] if isinstance(feature, JoinedFeature) else feature,)


def available_features(store: AnyStore) -> dict[str, AnyFeature]:
    """The features that a model can be fitted on, by name; `NAME@1`, `NAME@2`, ... count as one per-fold feature.

    Augmented copies are not among them: `select_copies` alone finds those.
    """
    if isinstance(store, JoinedStore):
        return dict(store.features)
    per_fold = per_fold_features(store)
    of_single_folds = {stored.name for feature in per_fold.values() for stored in feature.fold_features}
    return {**{n: f for n, f in plain_features(store.features).items() if n not in of_single_folds}, **per_fold}


@contextmanager
def open_stores(config: FitConfig) -> Iterator[AnyStore]:
    """Open the stores of a call, several of them as one `JoinedStore`.

    Raises:
        UsageError: Lists every path that is not a store.
        DataError: A store is damaged; names the first one.
    """
    problems, opened = Problems(), []
    test_stores = [config.test_store] if config.test_store else []
    with ExitStack() as stack:
        for path in (config.store, *config.more_stores, *test_stores):
            with problems.collecting():
                opened.append(stack.enter_context(FeatureStore(path)))
        problems.raise_all()
        if len(opened) == 1:
            yield opened[0]
        else:
            yield JoinedStore(opened[: len(opened) - len(test_stores)], opened[-1] if test_stores else None)
