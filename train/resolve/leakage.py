"""Whether an encoder has learned from what is tested, over every feature, store and corpus of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from emofuse.common.errors import UsageError
from emofuse.common.problems import Problems
from emofuse.manifests.folds import Fold
from emofuse.manifests.joint import corpus_of, own
from emofuse.manifests.protocol import Protocol
from emofuse.manifests.schema import Utterance
from emofuse.store import Feature
from emofuse.store.core.fitted_on import PARTS
from emofuse.train.resolve.extract_hints import made_by
from emofuse.train.resolve.joined_store import AnyFeature, AnyStore, held_by, parts
from emofuse.train.resolve.per_fold_feature import PerFoldFeature

UNKNOWN = "unknown"
"""The corpus of weights of which nobody has said what they were fitted on."""


def encoder_remarks(
    store: AnyStore, features: Mapping[str, AnyFeature], protocol: Protocol, folds: Sequence[Fold]
) -> list[str]:
    """What is allowed and must be said of the encoders.

    Raises:
        UsageError: The folds that would be tested on what an encoder has learned from, or encoders that nobody vouches
            for, with the commands that made them.
    """
    problems, refused, remarks = Problems(), [], []
    for feature in features.values():
        for made, concerned in _made(store, feature, folds):
            command = made_by(made.store, made)
            # One encoder made what all stores have of a feature: what any store says of it counts for every corpus.
            for corpus, tested in _by_corpus(protocol, store, concerned):
                with problems.noting():
                    bad, said = encoder_leaks(made.name, made.provenance, corpus, tested, command)
                    refused += bad
                    remarks += said
    problems.stop()
    if refused:
        raise UsageError(
            "these folds would be tested on what an encoder has learned from:\n  - "
            + "\n  - ".join(dict.fromkeys(refused))
            + "\nLeave those folds out (--folds) or take a feature whose encoder was not fitted on them."
        )
    return list(dict.fromkeys(remarks))


def _made(store: AnyStore, feature: AnyFeature, folds: Sequence[Fold]) -> list[tuple[Feature, Sequence[Fold]]]:
    """Every feature that was made by one encoder, and the folds that see it."""
    if isinstance(feature, PerFoldFeature):
        return [(feature.part(fold), [fold]) for fold in folds]
    return [(made, folds) for s in parts(store) for made in held_by(s, feature)]


def _by_corpus(protocol: Protocol, store: AnyStore, folds: Sequence[Fold]) -> list[tuple[str, list[Fold]]]:
    """Each corpus, and the folds of its utterances alone as the corpus itself names them."""
    if protocol.joint is None:
        return [(protocol.corpus, list(folds))]
    return [
        (s.corpus, [replace(f, test=tuple(own(u) for u in f.test if corpus_of(u.id) == s.corpus)) for f in folds])
        for s in parts(store)
    ]


def encoder_leaks(
    name: str, provenance: Mapping[str, Any], corpus: str, folds: Sequence[Fold], command: str = "extract ..."
) -> tuple[list[str], list[str]]:
    """What an encoder's own training means for the test sides: (reasons to refuse, remarks to print).

    An encoder fitted on labels of this corpus is refused for every fold whose test side it may have seen. Without
    labels it is allowed, and said. `fitted_on` stands for the whole corpus where it lists no ids, sessions, speakers or
    splits; where it lists ids, most of which are tested, under whatever name the corpus goes.

    Args:
        command: The `extract` command that made the feature.

    Raises:
        UsageError: Nobody has said what the encoder was fitted on, or not in words that can be checked.
    """
    refused, remarks = [], []
    for entry in _fitted_on(provenance.get("fitted_on")):
        labels = entry.get("labels", True) is not False
        about = str(entry.get("corpus")).strip().casefold()
        if about == UNKNOWN and labels:
            raise UsageError(
                f"nobody has said what the weights of feature {name!r} were fitted on; say it with "
                f"`{command} --fitted-on none`, or --fitted-on CORPUS, or --fitted-on CORPUS:session=1,2"
            )
        lists, same = _lists(entry), about == corpus.casefold()
        if not (same or "id" in lists):
            continue
        for fold in folds:
            seen = [u.id for u in fold.test if _covers(lists, u)]
            # A store may call the same data otherwise: by chance, corpora share a few ids, not most of them.
            if not seen or not (same or 2 * len(seen) >= len(fold.test)):
                continue
            told = (
                f"fold {fold.number} ({fold.name}): the encoder of {name!r} was fitted on {len(seen)} of "
                f"{len(fold.test)} test utterances" + ("" if same else f", as corpus {entry['corpus']}")
            )
            if labels:
                refused.append(f"{told}, with their labels: {', '.join(seen[:3])}{', ...' if len(seen) > 3 else ''}")
            else:
                remarks.append(f"{told}, without labels; this is allowed")
    return refused, remarks


def _fitted_on(stated: Any) -> list[Mapping[str, Any]]:
    """The entries of `fitted_on`; whatever is no mapping that names a corpus stands for an unknown one."""
    if stated is None:
        return []
    entries = stated if isinstance(stated, list | tuple) else [stated]
    named = (isinstance(e, Mapping) and isinstance(e.get("corpus"), str) and e["corpus"].strip() for e in entries)
    return [entry if known else {"corpus": UNKNOWN} for entry, known in zip(entries, named, strict=True)]


def _lists(entry: Mapping[str, Any]) -> dict[str, set[str]]:
    """What an entry restricts itself to: attribute of an utterance -> the values that were among the fitted ones."""
    return {
        key: {str(value) for value in entry[plural]}
        for plural, key in PARTS.items()
        if isinstance(entry.get(plural), list | tuple)
    }


def _covers(lists: Mapping[str, set[str]], utterance: Utterance) -> bool:
    # A list restricts only what it can speak about: an utterance without a session may have been among any of them.
    return all(getattr(utterance, key) is None or getattr(utterance, key) in values for key, values in lists.items())
