"""Tasks: everything that a paper's sentence "we use ..." says, as one TOML file per task beside this module.

A protocol names the corpus, the classes, which labels map to them, what forms a fold (session, speaker, official
split), the metrics, and the counts that must come out.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from emofuse.common.errors import UnknownNameError, UsageError, complain
from emofuse.manifests.schema import Utterance

METRICS = {
    "wa": "WA, accuracy over all utterances",
    "ua": "UA, mean of the per-class recalls",
    "wf1": "W-F1, F1 per class weighted by its number of utterances",
    "macro_f1": "macro F1, unweighted mean of F1 per class",
    "micro_f1": "micro F1, equal to accuracy where each utterance has one label",
}
GROUPINGS = ("session", "speaker", "dialogue", "split")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Counts that the corpus must give."""

    total: int
    classes: Mapping[str, int]
    folds: Mapping[str, int]
    """Utterances of each fold's test side (or of each split)."""
    without_audio: tuple[str, ...] = ()
    """Utterances that are known to have no usable audio in the release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """One task on one corpus."""

    name: str
    corpus: str
    source: str
    classes: tuple[str, ...]
    """The classes, in the order of the logits."""
    labels: Mapping[str, str]
    """The corpus's own label -> class; a label that is not named is not part of the task."""
    label_field: str
    """`label`, or a key of `Utterance.extra` such as `sentiment`."""
    fold_by: str
    """What a fold holds out: session, speaker or dialogue; `split` takes the corpus's train, dev and test."""
    fold_groups: tuple[tuple[str, ...], ...]
    """Values of `fold_by` that are held out together; empty: each value alone."""
    disjoint: tuple[str, ...]
    """What train, validation and test may not share."""
    metrics: tuple[str, ...]
    """Shown in this order; the first one selects the checkpoint on validation."""
    expected: Expected | None

    def class_of(self, utterance: Utterance) -> str | None:
        """The utterance's class in this task, or none where it is not part of it."""
        own = utterance.label if self.label_field == "label" else utterance.extra.get(self.label_field)
        return self.labels.get(str(own)) if own is not None else None

    def group_of(self, utterance: Utterance) -> str:
        """The fold (or split) that this utterance belongs to.

        Raises:
            UsageError: The utterance lacks what forms the folds.
        """
        value = getattr(utterance, self.fold_by)
        if value is None:
            raise UsageError(
                f"{utterance.id} has no {self.fold_by}, but protocol {self.name} forms its folds by {self.fold_by}"
            )
        for group in self.fold_groups:
            if value in group:
                return "+".join(group)
        if self.fold_groups:
            raise UsageError(f"{utterance.id}: {self.fold_by} {value!r} is in none of protocol {self.name}'s groups")
        return str(value)

    def differences(self, utterances: list[Utterance], available: set[str] | None = None) -> list[str]:
        """How the counts of the task differ from the expected ones, each line with both numbers.

        Args:
            utterances: The utterances of the task (those with a class).
            available: Ids that have every feature in use; None: all. Known gaps of the release are not differences.
        """
        if self.expected is None:
            return []
        gaps = set(self.expected.without_audio)
        ids = {u.id for u in utterances if available is None or u.id in available}
        counted = [u for u in utterances if u.id in ids or u.id in gaps]
        found: list[tuple[str, Mapping[str, int], Mapping[str, int]]] = [
            ("utterances", {"all": len(counted)}, {"all": self.expected.total}),
            ("class", Counter(str(self.class_of(u)) for u in counted), self.expected.classes),
            (self.fold_by, Counter(self.group_of(u) for u in counted), self.expected.folds),
        ]
        return [
            f"{kind} {key}: found {have.get(key, 0)}, expected {want.get(key, 0)}"
            for kind, have, want in found
            if want
            for key in sorted({*have, *want})
            if have.get(key, 0) != want.get(key, 0)
        ]


def names(corpus: str | None = None) -> list[str]:
    """The protocols there are, or those of one corpus."""
    every = sorted(path.stem for path in Path(__file__).parent.glob("*.toml"))
    return every if corpus is None else [n for n in every if load(n).corpus == corpus]


@cache
def load(name: str) -> Protocol:
    """A protocol by name, or from a TOML file of one's own by its path.

    Raises:
        UnknownNameError: No such protocol; lists the valid ones.
        UsageError: The file is wrong; lists every mistake.
    """
    path = Path(name) if name.endswith(".toml") else Path(__file__).parent / f"{name}.toml"
    if not path.is_file() and name.endswith(".toml"):
        raise UsageError(f"no protocol file {path}; those that come with emofuse: {', '.join(names())}")
    if not path.is_file():
        raise UnknownNameError("protocol", name, names(), "A task of your own: --protocol PATH.toml.")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    return parse(path.stem, raw)


def default_for(corpus: str) -> Protocol:
    """The protocol that a corpus is fitted with when none is named."""
    of_corpus = [load(n) for n in names(corpus)]
    if not of_corpus:
        raise UsageError(
            f"no protocol for corpus {corpus!r} comes with emofuse; write one: --protocol PATH.toml (docs/protocols.md)"
        )
    preferred = {"iemocap": "iemocap4", "meld": "meld7", "savee": "savee7"}.get(corpus)
    return load(preferred) if preferred else of_corpus[0]


# What a protocol's tables hold: [str] is a list of texts, [[str]] a list of such lists, {str: str} a table of texts.
_SHAPE: dict[str, Any] = {
    "corpus": str,
    "source": str,
    "classes": [str],
    "label_field": str,
    "labels": {str: str},
    "metrics": [str],
    "folds": {"by": str, "groups": [[str]], "disjoint": [str]},
    "expected": {"total": int, "classes": {str: int}, "folds": {str: int}, "without_audio": [str]},
}
_NEEDED = ("corpus", "source", "classes", "metrics", "folds")


def _misshapen(value: Any, shape: Any, where: str) -> list[str]:
    """Where `value` departs from `shape`, one line each."""
    if isinstance(shape, type):
        right = isinstance(value, shape) and not isinstance(value, bool)
        return [] if right else [f"{where} is {value!r}, expected {'text' if shape is str else 'a whole number'}"]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{where} is {value!r}, expected a list"]
        return [p for n, item in enumerate(value, 1) for p in _misshapen(item, shape[0], f"{where}, item {n},")]
    if not isinstance(value, dict):
        return [f"{where} is {value!r}, expected a table"]
    if str in shape:
        return [p for k, item in value.items() for p in _misshapen(item, shape[str], f"{where}.{k}")]
    known = ", ".join(sorted(shape))
    full = {k: f"{where}.{k}" if where else k for k in value}
    problems = [f"unknown key {full[k]}; known: {known}" for k in sorted(value) if k not in shape]
    return problems + [p for k, v in value.items() if k in shape for p in _misshapen(v, shape[k], full[k])]


def parse(name: str, raw: Mapping[str, Any]) -> Protocol:
    """Build a protocol from its TOML tables.

    Raises:
        UsageError: Lists what has the wrong shape; where all have the right one, what does not fit together.
    """
    complain(
        [f"{key!r} is missing" for key in _NEEDED if key not in raw] + _misshapen(dict(raw), _SHAPE, ""),
        f"protocol {name} is wrong",
    )
    classes, folds, expected = tuple(raw["classes"]), raw["folds"], raw.get("expected")
    labels = raw.get("labels") or {c: c for c in classes}
    by, groups = folds.get("by"), folds.get("groups", [])
    disjoint = tuple(folds.get("disjoint", (by,) if by in GROUPINGS[:3] else ()))
    problems = [f"{key} is empty" for key in ("classes", "metrics") if not raw[key]]
    problems += _twice(classes, "class") + _twice([v for g in groups for v in g], "folds.groups:")
    problems += [f"label {k!r} maps to {v!r}, which is no class" for k, v in labels.items() if v not in classes]
    problems += [f"class {c!r} has no label" for c in classes if c not in labels.values()]
    problems += [f"no metric named {m!r}; valid: {', '.join(METRICS)}" for m in raw["metrics"] if m not in METRICS]
    if by not in GROUPINGS:
        problems.append(f"folds.by is {by!r}; valid: {', '.join(GROUPINGS)}")
    problems += [
        f"folds.disjoint names {d!r}; valid: {', '.join(GROUPINGS[:3])}" for d in disjoint if d not in GROUPINGS[:3]
    ]
    if expected is not None:
        problems += [] if "total" in expected else ["'expected.total' is missing"]
        problems += [f"expected.classes names {c!r}, no class" for c in expected.get("classes", {}) if c not in classes]
    complain(problems, f"protocol {name} is wrong")
    return Protocol(
        name=name,
        corpus=raw["corpus"],
        source=raw["source"],
        classes=classes,
        labels=labels,
        label_field=raw.get("label_field", "label"),
        fold_by=by,
        fold_groups=tuple(tuple(g) for g in groups),
        disjoint=disjoint,
        metrics=tuple(raw["metrics"]),
        expected=None
        if expected is None
        else Expected(
            total=expected["total"],
            classes=expected.get("classes", {}),
            folds=expected.get("folds", {}),
            without_audio=tuple(expected.get("without_audio", ())),
        ),
    )


def _twice(values: Sequence[str], what: str) -> list[str]:
    return [f"{what} {v!r} is named {n} times" for v, n in Counter(values).items() if n > 1]
