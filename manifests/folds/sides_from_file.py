"""The sides of the folds of a file, for the utterances of a task; and whether the file and the corpus match.

Where the file has no validation side, it is formed from the training side: what the next fold tests, or, with a single
fold, a fifth of the training side, whole speakers (or what else is `disjoint`) by a hash of their names.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from emofuse.manifests.fold_file import FileFold, FoldFile, listed
from emofuse.manifests.protocol import Protocol
from emofuse.manifests.schema import Manifest, Utterance

FIFTH = "a fifth of training"
"""What `Fold.validated` is where neither the file nor another fold gives a validation side."""


class Sides(NamedTuple):
    """One fold of a file, for the utterances of a task."""

    name: str
    validated: str | None
    train: tuple[Utterance, ...]
    validation: tuple[Utterance, ...]
    test: tuple[Utterance, ...]


def file_sides(protocol: Protocol, utterances: Sequence[Utterance], validates: bool) -> list[Sides]:
    """The folds of the protocol's file, in its order.

    Args:
        protocol: Has a `fold_file`.
        utterances: Those of the task.
        validates: Whether there is a validation side; without, one that was formed here stays in training, and one of
            the file is left unused.
    """
    source = protocol.fold_file
    assert source is not None
    named = [(source.key(u.id), u) for u in utterances]
    sides = []
    for index, fold in enumerate(source.folds):
        validated, names = _validation(protocol, source, index, named)
        kept = names if validates else frozenset()
        sides.append(
            Sides(
                name=fold.name,
                validated=validated if validates else None,
                train=tuple(u for key, u in named if key in fold.train and key not in kept),
                validation=tuple(u for key, u in named if key in kept),
                test=tuple(u for key, u in named if key in fold.test),
            )
        )
    return sides


def _validation(
    protocol: Protocol, source: FoldFile, index: int, named: Sequence[tuple[str, Utterance]]
) -> tuple[str, frozenset[str]]:
    """What selects the checkpoint of a fold: what it is called, and the names in the file."""
    fold = source.folds[index]
    if fold.validation:
        return "validation", fold.validation
    if len(source.folds) > 1:
        following = source.folds[(index + 1) % len(source.folds)]
        return following.name, following.test & fold.train
    return FIFTH, _fifth(protocol, fold, named)


def _fifth(protocol: Protocol, fold: FileFold, named: Sequence[tuple[str, Utterance]]) -> frozenset[str]:
    """A fifth of the training side, in whole units of the first attribute of `disjoint`, else single utterances."""
    unit = protocol.disjoint[0] if protocol.disjoint else "id"
    units = {key: str(getattr(u, unit)) for key, u in named if key in fold.train}
    ordered = sorted(set(units.values()), key=lambda value: hashlib.sha256(value.encode()).hexdigest())
    chosen = set(ordered[: max(1, len(ordered) // 5)])
    return frozenset(key for key, value in units.items() if value in chosen)


def fold_file_problems(protocol: Protocol, manifest: Manifest, allowed: int = 0) -> list[str]:
    """Names of the file that the corpus does not have, and utterances of the task that the file does not have.

    Args:
        protocol: The task; `[folds] absent` and `unassigned` declare how many of each are known.
        manifest: The corpus.
        allowed: How many names may be absent without being declared (`--allow-missing`).
    """
    source, file = protocol.fold_file, protocol.fold_source
    if source is None:
        return []
    ids = dict.fromkeys([*manifest.ids, *(e.id for e in manifest.excluded)])
    keys = Counter(source.key(id) for id in ids)
    absent = sorted(source.groups.keys() - keys.keys())
    if len(absent) == len(source.groups):
        return [f"no name of {file} is an id of {manifest.corpus}: {listed(absent, 'name')}; {listed(ids, 'id')}"]
    problems = [f"{file}: {n} utterances of {manifest.corpus} match {key}" for key, n in keys.items() if n > 1]
    if len(absent) > max(protocol.absent, allowed):
        problems.append(
            f"{manifest.corpus} does not have {listed(absent, 'name')} of {len(source.groups)} in {file}, expected at "
            f"most {protocol.absent}: complete the corpus, or say that it is known: [folds] absent = {len(absent)}"
        )
    unassigned = unassigned_utterances(protocol, manifest.utterances)
    if len(unassigned) > protocol.unassigned:
        problems.append(
            f"{listed(unassigned, 'utterance')} of the task in no fold of {file}, expected at most "
            f"{protocol.unassigned}: correct the file, or leave them out: [folds] unassigned = {len(unassigned)}"
        )
    return problems


def unassigned_utterances(protocol: Protocol, utterances: Sequence[Utterance]) -> list[str]:
    """The ids that would be part of the task if the file had them."""
    if protocol.fold_file is None:
        return []
    return [u.id for u in utterances if protocol.labelled(u) and protocol.fold_file.group_of(u.id) is None]


def fold_file_remarks(protocol: Protocol, manifest: Manifest) -> list[str]:
    """What the folds of a file mean for the scores: utterances left out, and speakers on two sides."""
    source = protocol.fold_file
    if source is None:
        return []
    remarks = []
    if unassigned := unassigned_utterances(protocol, manifest.utterances):
        remarks.append(f"in no fold of {protocol.fold_source} and left out: {listed(unassigned, 'utterance')}")
    members = [u for u in manifest.utterances if protocol.has(u) and u.speaker is not None]
    speaker_of = {source.key(u.id): u.speaker for u in members}
    shared = [
        fold.name
        for fold in source.folds
        if {speaker_of.get(key) for key in fold.test} & {speaker_of.get(key) for key in fold.train} - {None}
    ]
    if shared:
        remarks.append(
            f"{protocol.fold_source} tests speakers that it also trains on (fold {', '.join(shared)}): "
            "the scores are not those of new speakers"
        )
    return remarks
