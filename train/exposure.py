"""Whether an encoder has learned from what is tested, over every feature, store and corpus of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from emofuse.common.errors import UsageError
from emofuse.manifests.joint import corpus_of, own
from emofuse.manifests.protocol import Protocol
from emofuse.train.advice import made_by
from emofuse.train.folds import Fold, encoder_leaks
from emofuse.train.join import AnyFeature, AnyStore, part_of, parts
from emofuse.train.problems import Problems


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
        for part in parts(store):
            made = part_of(feature, part)
            command = made_by(part, made)
            # One encoder made all parts of a feature: what any store says of it counts for every corpus.
            for corpus, tested in _by_corpus(protocol, store, folds):
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


def _by_corpus(protocol: Protocol, store: AnyStore, folds: Sequence[Fold]) -> list[tuple[str, list[Fold]]]:
    """Each corpus, and the folds of its utterances alone as the corpus itself names them."""
    if protocol.joint is None:
        return [(protocol.corpus, list(folds))]
    return [
        (s.corpus, [replace(f, test=tuple(own(u) for u in f.test if corpus_of(u.id) == s.corpus)) for f in folds])
        for s in parts(store)
    ]
