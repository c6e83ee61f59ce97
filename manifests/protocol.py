"""Tasks: everything that a paper's sentence "we use ..." says, as one TOML file per task beside this module.

A protocol names the corpus (or several, which are trained on together and may be tested on another one), the classes,
which labels map to them, what forms a fold (session, speaker, official split), the metrics, and the counts that must
come out.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from emofuse.common.errors import UnknownNameError, UsageError, complain
from emofuse.common.registry import Registry
from emofuse.common.shapes import misshapen
from emofuse.manifests.joint import SEPARATOR, corpus_of, joined_name
from emofuse.manifests.task import GROUPINGS, HELD_OUT, METRICS, SPLITS, Expected, Joint, Protocol

__all__ = [
    "GROUPINGS", "METRICS", "SPLITS", "Expected", "Joint", "Protocol",
    "default_for", "load", "names", "names_for", "parse",
]  # fmt: skip


FILES: Registry[Path] = Registry("protocol", "emofuse.protocols", Path)
"""Name -> TOML file; another package's entry point names a `pathlib.Path`."""
for _path in sorted(Path(__file__).parent.glob("*.toml")):
    FILES.add(_path.stem, "", _path)


def names(corpus: str | None = None) -> list[str]:
    """The protocols there are, or those of one corpus."""
    every = FILES.names()
    return every if corpus is None else [n for n in every if load(n).corpus == corpus]


def names_for(corpora: Sequence[str], test_corpus: str | None) -> list[str]:
    """The protocols that are trained on just these corpora and tested on that one (none: on the same)."""
    every = {n: load(n) for n in names()}
    return [n for n, p in every.items() if sorted(p.corpora) == sorted(corpora) and p.test_corpus == test_corpus]


@cache
def load(name: str) -> Protocol:
    """A protocol by name, or from a TOML file of one's own by its path.

    Raises:
        UnknownNameError: No such protocol; lists the valid ones.
        UsageError: The file is wrong; lists every mistake.
    """
    if not name.endswith(".toml") and name not in FILES:
        raise UnknownNameError("protocol", name, names(), "A task of your own: --protocol PATH.toml.")
    path = Path(name) if name.endswith(".toml") else FILES[name]
    if not path.is_file():
        raise UsageError(f"no protocol file {path}; those that come with emofuse: {', '.join(names())}")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    return parse(path.stem if name.endswith(".toml") else name, raw)


def default_for(corpus: str) -> Protocol:
    """The protocol that a corpus is fitted with when none is named."""
    of_corpus = [load(n) for n in names(corpus)]
    if not of_corpus:
        raise UsageError(
            f"no protocol for corpus {corpus!r} comes with emofuse; write one: --protocol PATH.toml (docs/protocols.md)"
        )
    preferred = {"iemocap": "iemocap4", "meld": "meld7", "ravdess": "ravdess8", "savee": "savee7"}.get(corpus)
    return load(preferred) if preferred else of_corpus[0]


# What a protocol's tables hold: [str] is a list of texts, [[str]] a list of such lists, {str: str} a table of texts.
_SHAPE: dict[str, Any] = {
    "corpus": str,
    "source": str,
    "classes": [str],
    "label_field": str,
    "labels": {str: str},
    "metrics": [str],
    "folds": {"by": str, "groups": [[str]], "parts": int, "disjoint": [str]},
    "expected": {"total": int, "classes": {str: int}, "folds": {str: int}, "without_audio": [str]},
}
_JOINT: dict[str, Any] = {
    "corpora": [str],
    "test_corpus": str,
    "test_split": str,
    "source": str,
    "classes": [str],
    "labels": {str: {str: str}},
    "metrics": [str],
    "folds": {"by": {str: str}, "groups": [[str]], "validation": [str], "disjoint": {str: [str]}},
    "expected": {"total": int, "classes": {str: {str: int}}, "folds": {str: int}, "without_audio": [str]},
}
_NEEDED = ("source", "classes", "metrics", "folds")


def parse(name: str, raw: Mapping[str, Any]) -> Protocol:
    """Build a protocol from its TOML tables.

    Raises:
        UsageError: Lists what has the wrong shape; where all have the right one, what does not fit together.
    """
    several = "corpora" in raw
    needed = ("corpora" if several else "corpus", *_NEEDED)
    complain(
        [f"{key!r} is missing" for key in needed if key not in raw]
        + misshapen(dict(raw), _JOINT if several else _SHAPE),
        f"protocol {name} is wrong",
    )
    joint, problems = _joint(raw) if several else (None, [])
    classes, folds, expected = tuple(raw["classes"]), raw["folds"], raw.get("expected")
    labels = _joined_labels(raw) if several else raw.get("labels") or {c: c for c in classes}
    groups, by = folds.get("groups", []), "group" if several else folds.get("by")
    disjoint = () if several else tuple(folds.get("disjoint", (by,) if by in HELD_OUT else ()))
    problems += [f"{key} is empty" for key in ("classes", "metrics") if not raw[key]]
    problems += _twice(classes, "class") + _twice([v for g in groups for v in g], "folds.groups:")
    problems += [f"label {k!r} maps to {v!r}, which is no class" for k, v in labels.items() if v not in classes]
    problems += [f"class {c!r} has no label" for c in classes if c not in labels.values()]
    problems += [f"no metric named {m!r}; valid: {', '.join(METRICS)}" for m in raw["metrics"] if m not in METRICS]
    if not several and by not in GROUPINGS:
        problems.append(f"folds.by is {by!r}; valid: {', '.join(GROUPINGS)}")
    if "parts" in folds and (folds["parts"] < 2 or "groups" in folds or by == "split"):
        problems.append(f"folds.parts is {folds['parts']}; expected at least 2, no groups beside it, no official split")
    apart = dict.fromkeys(k for keys in (joint.disjoint.values() if joint else [disjoint]) for k in keys)
    problems += [f"folds.disjoint names {d!r}; valid: {', '.join(HELD_OUT)}" for d in apart if d not in HELD_OUT]
    counts = None if expected is None else _counts(expected, several)
    if expected is not None and counts is not None:
        problems += [] if "total" in expected else ["'expected.total' is missing"]
        problems += [f"expected.classes names {c!r}, no class" for c in counts.classes if c not in classes]
    complain(problems, f"protocol {name} is wrong")
    return Protocol(
        name=name,
        corpus="+".join(raw["corpora"]) if several else raw["corpus"],
        source=raw["source"],
        classes=classes,
        labels=labels,
        label_field=raw.get("label_field", "label"),
        fold_by=by,
        fold_groups=tuple(tuple(g) for g in groups),
        disjoint=disjoint,
        metrics=tuple(raw["metrics"]),
        expected=counts,
        joint=joint,
        fold_parts=folds.get("parts", 0),
    )


def _counts(expected: Mapping[str, Any], several: bool) -> Expected:
    classes = expected.get("classes", {})
    total: Counter[str] = Counter()
    for own in classes.values() if several else [classes]:
        total.update(own)
    return Expected(
        total=expected.get("total", 0),
        classes=dict(total),
        folds=expected.get("folds", {}),
        without_audio=tuple(expected.get("without_audio", ())),
        corpora=classes if several else {},
    )


def _joined_labels(raw: Mapping[str, Any]) -> dict[str, str]:
    """Each corpus's labels under joined names; a corpus without a table has the classes themselves."""
    own, same = raw.get("labels", {}), {c: c for c in raw["classes"]}
    return {joined_name(corpus, k): v for corpus in _every(raw) for k, v in own.get(corpus, same).items()}


def _every(raw: Mapping[str, Any]) -> list[str]:
    return [*raw["corpora"], *([raw["test_corpus"]] if "test_corpus" in raw else [])]


def _joint(raw: Mapping[str, Any]) -> tuple[Joint, list[str]]:
    """What only a protocol over several corpora says, and what is wrong with it."""
    corpora, test, folds, every = raw["corpora"], raw.get("test_corpus"), raw["folds"], _every(raw)
    by, disjoint, validation = folds.get("by", {}), folds.get("disjoint", {}), folds.get("validation", [])
    problems = _twice(every, "corpus")
    problems += [f"corpus {c!r}: '{SEPARATOR}' and '+' join names" for c in every if SEPARATOR in c or "+" in c]
    if len(corpora) < (1 if test else 2):
        problems.append("corpora names fewer than two, and there is no test_corpus; one alone is `corpus = ...`")
    tables = {
        "labels": (raw.get("labels", {}), every),
        "folds.by": (by, corpora),
        "folds.disjoint": (disjoint, corpora),
        "expected.classes": (raw.get("expected", {}).get("classes", {}), every),
    }
    problems += [
        f"{key} names corpus {c!r}; valid: {', '.join(valid)}"
        for key, (table, valid) in tables.items()
        for c in table
        if c not in valid
    ]
    problems += [
        f"folds.by.{c} is {by.get(c)!r}; valid: {', '.join(HELD_OUT[:3])}"
        for c in corpora
        if by.get(c) not in HELD_OUT[:3]
    ]
    held = {"folds.groups": [v for g in folds.get("groups", []) for v in g], "folds.validation": validation}
    problems += [
        f"{key} names {v!r}, which is no CORPUS{SEPARATOR}VALUE of {' or '.join(corpora)}"
        for key, values in held.items()
        for v in values
        if SEPARATOR not in v or corpus_of(v) not in corpora
    ]
    if test is None:
        alone = {"test_split": "test_split" in raw, "folds.validation": "validation" in folds}
        problems += [f"{key} needs a test_corpus" for key, given in alone.items() if given]
    else:
        problems += [] if validation else ["folds.validation is missing: what of the training corpora selects"]
        problems += ["folds.groups has no effect where another corpus is tested"] if "groups" in folds else []
        labels = _joined_labels(raw)
        trained = {v for k, v in labels.items() if corpus_of(k) != test}
        tested = dict.fromkeys(v for k, v in labels.items() if corpus_of(k) == test)
        problems += [f"class {c!r} is tested but never trained" for c in tested if c not in trained]
    if raw.get("test_split", "test") not in SPLITS:
        problems.append(f"test_split is {raw['test_split']!r}; valid: {', '.join(SPLITS)}")
    usual = {c: (by[c],) if by.get(c) in HELD_OUT[:3] else () for c in corpora}
    return Joint(
        by={c: by.get(c, "") for c in corpora},
        disjoint={c: tuple(disjoint.get(c, usual[c])) for c in corpora} | ({test: ()} if test else {}),
        test_corpus=test,
        test_split=raw.get("test_split"),
        validation=tuple(validation),
    ), problems


def _twice(values: Sequence[str], what: str) -> list[str]:
    return [f"{what} {v!r} is named {n} times" for v, n in Counter(values).items() if n > 1]
