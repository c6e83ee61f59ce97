"""Whether an encoder was trained on test utterances, over every feature, store and corpus of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from emofuse.common.errors import UsageError
from emofuse.common.problems import Problems
from emofuse.manifests.folds.cross_validation import Fold
from emofuse.manifests.names.joint import corpus_of, unjoined
from emofuse.manifests.names.spellings import NAMED, name_key
from emofuse.manifests.protocol import Protocol
from emofuse.manifests.schema import Utterance
from emofuse.store import Feature, FeatureStore
from emofuse.store.core.fitted_on import LIST_ATTRIBUTES
from emofuse.train.resolve.features.extract_commands import command_that_made
from emofuse.train.resolve.features.joined_store import AnyFeature, AnyStore, member_stores, stored_features
from emofuse.train.resolve.features.per_fold_feature import PerFoldFeature

UNKNOWN = "unknown"
"""The corpus in `fitted_on` of weights whose training data are unspecified."""


def check_leakage(
    store: AnyStore, features: Mapping[str, AnyFeature], protocol: Protocol, folds: Sequence[Fold]
) -> list[str]:
    """Refuse features whose encoder was trained on test labels; gives remarks on training that is allowed.

    Args:
        features: By modality.

    Raises:
        UsageError: Lists the folds whose test utterances an encoder was trained on, or the encoders whose training
            data are unspecified, with the commands that made the features.
    """
    problems, refusals, remarks = Problems(), [], []
    for feature in features.values():
        for member, stored, stored_folds in _stored_with_folds(store, feature, folds):
            command = command_that_made(member, stored)
            # All stores have a feature from one encoder: what any store records of it counts for every corpus.
            for corpus, corpus_folds in _folds_by_corpus(protocol, store, stored_folds):
                with problems.collecting():
                    leaks, allowed = find_leaks(stored.name, stored.provenance, corpus, corpus_folds, command)
                    refusals += leaks
                    remarks += allowed
    problems.raise_all()
    if refusals:
        raise UsageError(
            "these folds would be tested on utterances that an encoder was trained on:\n  - "
            + "\n  - ".join(dict.fromkeys(refusals))
            + "\nLeave those folds out (--folds), or use a feature whose encoder was not trained on them."
        )
    return list(dict.fromkeys(remarks))


def _stored_with_folds(
    store: AnyStore, feature: AnyFeature, folds: Sequence[Fold]
) -> list[tuple[FeatureStore, Feature, Sequence[Fold]]]:
    """Every stored feature behind `feature`, each from one encoder, with its store and the folds that use it."""
    if isinstance(feature, PerFoldFeature):
        (only_store,) = member_stores(store)
        return [(only_store, feature.for_fold(fold), [fold]) for fold in folds]
    return [(s, stored, folds) for s in member_stores(store) for stored in stored_features(s, feature)]


def _folds_by_corpus(protocol: Protocol, store: AnyStore, folds: Sequence[Fold]) -> list[tuple[str, list[Fold]]]:
    """Each corpus with its folds, whose test side holds only utterances of that corpus, under their own ids."""
    if protocol.joint is None:
        return [(protocol.corpus, list(folds))]
    return [
        (s.corpus, [replace(f, test=tuple(unjoined(u) for u in f.test if corpus_of(u.id) == s.corpus)) for f in folds])
        for s in member_stores(store)
    ]


def find_leaks(
    name: str, provenance: Mapping[str, Any], corpus: str, folds: Sequence[Fold], command: str = "extract ..."
) -> tuple[list[str], list[str]]:
    """Compare an encoder's training data with the test sides: (reasons to refuse, remarks to print).

    An encoder trained with labels of this corpus is refused for every fold whose test side it may have seen; one
    trained without labels is allowed, with a remark. An entry of `fitted_on` means the whole corpus unless it lists
    ids, sessions, speakers or splits. An entry that lists ids also counts under any other corpus name, for each fold of
    which it lists at least half of the test utterances.

    Args:
        name: Of the feature.
        provenance: Of the feature; its `fitted_on` is checked.
        corpus: Of the test utterances.
        command: The `extract` command that made the feature.

    Raises:
        UsageError: `fitted_on` is unspecified, or cannot be checked.
    """
    refusals, remarks = [], []
    for entry in _entries(provenance.get("fitted_on")):
        labels = entry.get("labels", True) is not False
        trained_on = str(entry.get("corpus")).strip().casefold()
        if trained_on == UNKNOWN and labels:
            raise UsageError(
                f"it is unspecified what the encoder of feature {name!r} was fitted on; specify it with "
                f"`{command} --fitted-on none`, or --fitted-on CORPUS, or --fitted-on CORPUS:session=1,2"
            )
        restrictions, same_corpus = _restrictions(entry), trained_on == corpus.casefold()
        if not (same_corpus or "id" in restrictions):
            continue
        for fold in folds:
            seen = [u.id for u in fold.test if _may_include(restrictions, u)]
            # The same data may have another corpus name elsewhere. By chance, two corpora share a few ids, never half.
            if not seen or not (same_corpus or 2 * len(seen) >= len(fold.test)):
                continue
            message = (
                f"fold {fold.number} ({fold.name}): the encoder of {name!r} was fitted on {len(seen)} of "
                f"{len(fold.test)} test utterances" + ("" if same_corpus else f", as corpus {entry['corpus']}")
            )
            if labels:
                ids = ", ".join(seen[:3]) + (", ..." if len(seen) > 3 else "")
                refusals.append(f"{message}, with their labels: {ids}")
            else:
                remarks.append(f"{message}, without labels; this is allowed")
    return refusals, remarks


def _entries(fitted_on: Any) -> list[Mapping[str, Any]]:
    """The entries of `fitted_on`; whatever is not a mapping that names a corpus becomes one of an unknown corpus."""
    if fitted_on is None:
        return []
    entries = fitted_on if isinstance(fitted_on, list | tuple) else [fitted_on]
    named = (isinstance(e, Mapping) and isinstance(e.get("corpus"), str) and e["corpus"].strip() for e in entries)
    return [entry if known else {"corpus": UNKNOWN} for entry, known in zip(entries, named, strict=True)]


def _restrictions(entry: Mapping[str, Any]) -> dict[str, set[str]]:
    """The lists in an entry of `fitted_on`: attribute of an utterance -> the values that were in the training data."""
    return {
        attribute: {str(value) for value in entry[key]}
        for key, attribute in LIST_ATTRIBUTES.items()
        if isinstance(entry.get(key), list | tuple)
    }


def _may_include(restrictions: Mapping[str, set[str]], utterance: Utterance) -> bool:
    return all(_may_be_one_of(values, attribute, utterance) for attribute, values in restrictions.items())


def _may_be_one_of(values: set[str], attribute: str, utterance: Utterance) -> bool:
    value: str | None = getattr(utterance, attribute)
    if value is None or value in values:  # without a session (speaker, ...) it may belong to any of the listed ones
        return True
    return attribute in NAMED and name_key(value) in map(name_key, values)
