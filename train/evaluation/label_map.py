"""From the labels of another corpus to the classes of a run."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.common.problems import Problems
from emofuse.manifests.protocol import Protocol
from emofuse.manifests.schema import Utterance

NO_LABEL = "(no label)"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMap:
    """What the labels of a store mean to a run."""

    labels: Mapping[str, str]
    """The store's own label -> class of the run."""
    left_out: Mapping[str, int]
    """The store's own label -> how many utterances of it are left out, as it is no class of the run."""
    absent: tuple[str, ...]
    """Classes of the run that no utterance has."""


def own_label(utterance: Utterance, label_field: str) -> str | None:
    """The label of an utterance as its corpus writes it."""
    label = utterance.label if label_field == "label" else utterance.extra.get(label_field)
    return None if label is None else str(label)


def map_labels(
    utterances: Sequence[Utterance],
    classes: Sequence[str],
    theirs: Protocol | None,
    pairs: Sequence[str],
    ignored: Sequence[str],
) -> LabelMap:
    """Map every label of a store to a class of a run, or leave it out.

    A label counts as `pairs` say; else as the class that `theirs` gives it; without a protocol as itself. A class of
    `theirs` (or a label) that is called like a class of the run is that class. Others are left out, unless a class of
    the run would stay without utterances: then it may be the same class under another name, and the user must say.

    Args:
        utterances: Of the store.
        classes: Of the run.
        theirs: The protocol of the store's corpus.
        pairs: `OURS=THEIRS` each; THEIRS is a label of the store or a class of `theirs`.
        ignored: Labels of the store, or classes of `theirs`, that are left out.

    Raises:
        UsageError: Pairs that are malformed or name what does not exist, or labels that cannot be mapped; lists all.
    """
    field = theirs.label_field if theirs else "label"
    counts = Counter(own_label(u, field) or NO_LABEL for u in utterances)
    group = {label: theirs.labels.get(label) if theirs else label for label in counts if label != NO_LABEL}
    chosen = _chosen(pairs, ignored, classes, {*group, *filter(None, group.values())})
    labels: dict[str, str] = {}
    unknown: Counter[str] = Counter()
    for label, name in group.items():
        key = label if label in chosen else name
        found = chosen.get(key, key if key in classes else None) if key is not None else None
        if found is not None:
            labels[label] = found
        elif key is not None and key not in chosen:
            unknown[key] += counts[label]
    absent = tuple(c for c in classes if c not in labels.values())
    if unknown and absent:
        raise UsageError(_unmapped(unknown, absent))
    if not labels:
        raise UsageError(
            f"no utterance of the store has a class of the run: {_listed(classes)}; it has: {_listed(counts)}"
        )
    return LabelMap(labels=labels, left_out={c: n for c, n in counts.items() if c not in labels}, absent=absent)


def _chosen(
    pairs: Sequence[str], ignored: Sequence[str], classes: Sequence[str], known: Iterable[str]
) -> dict[str, str | None]:
    """Label of the store -> the class that the user gives it; None to leave it out."""
    problems, known = Problems(), set(known)
    chosen: dict[str, str | None] = {}
    for ours, theirs in [*(_split(pair, problems) for pair in pairs), *((None, label) for label in ignored)]:
        with problems.collecting():
            if theirs not in known:
                raise UnknownNameError("label in the store", theirs, known, "--map takes OURS=THEIRS.")
            if ours is not None and ours not in classes:
                raise UnknownNameError("class of the run", ours, classes, "--map takes OURS=THEIRS.")
            if theirs in chosen and chosen[theirs] != ours:
                raise UsageError(f"label {theirs!r} is given two meanings: --map and --ignore take each label once")
            chosen[theirs] = ours
    problems.raise_all()
    return chosen


def _split(pair: str, problems: Problems) -> tuple[str | None, str]:
    ours, equals, theirs = (part.strip() for part in pair.partition("="))
    if not (ours and equals and theirs):
        problems.add(f"--map {pair}: expected OURS=THEIRS, a class of the run and the label of the store that means it")
    return ours, theirs


def _unmapped(unknown: Mapping[str, int], absent: Sequence[str]) -> str:
    listed = ", ".join(f"{label} {n}" for label, n in sorted(unknown.items()))
    alike = [(ours, theirs) for ours in absent for theirs in difflib.get_close_matches(ours, unknown, 1, 0.4)]
    example = "--map {}={}".format(*next(iter(alike), (absent[0], min(unknown))))
    return (
        f"labels of the store that are no class of the run: {listed}; classes of the run that no label means: "
        f"{', '.join(absent)}. Map those that mean the same (such as {example}, the run's class first), and leave "
        "the others out with --ignore LABEL"
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
