"""Several stores as one: what `fit` needs of a store and of a feature when a task spans several corpora.

Utterances have joined ids (`iemocap:Ses01F_impro01_F000`). The features are those that every store has; a feature is
usable where all stores extracted it with the same settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from emofuse.common.lazy import lazy_property
from emofuse.common.problems import Problems
from emofuse.manifests.names.joint import join_manifests
from emofuse.manifests.schema import Manifest
from emofuse.store import Feature, FeatureStore
from emofuse.store.core.augmented import plain_features
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.features.combined_feature import CombinedFeature
from emofuse.train.resolve.features.joined_feature import JoinedFeature
from emofuse.train.resolve.features.per_fold_feature import PerFoldFeature, per_fold_features


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
