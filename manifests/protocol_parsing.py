"""Builds a `Protocol` from the TOML tables of its file, with every mistake reported at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from emofuse.common.errors import raise_problems
from emofuse.common.toml_checks import shape_problems
from emofuse.manifests.names.joint import SEPARATOR, corpus_of, joined_name
from emofuse.manifests.names.spellings import NAMED, NameRules, rule_problems
from emofuse.manifests.protocol import GROUPINGS, HOLD_OUT_KEYS, SPLITS, ExpectedCounts, JointCorpora, Protocol
from emofuse.manifests.row_filter import as_lists, joined_where
from emofuse.manifests.targets import parsing as targets
from emofuse.manifests.targets.scoring import selecting_metrics, valid_metrics
from emofuse.manifests.targets.target import KINDS

_NAME_RULES: dict[str, Any] = {"same": {str: str}, "distinct": [[str]]}
# The structure of the tables: [str] is a list of texts, [[str]] a list of lists of texts, {str: str} a table of texts.
_SHAPE: dict[str, Any] = {
    "corpus": str,
    "source": str,
    "classes": [str],
    "label_field": str,
    "labels": {str: str},
    "metrics": [str],
    "where": {str: [str]},
    **targets.SHAPE,
    "names": dict.fromkeys(NAMED, _NAME_RULES),
    "folds": {
        "by": str,
        "groups": [[str]],
        "parts": int,
        "disjoint": [str],
        "file": str,
        "absent": int,
        "unassigned": int,
    },
    "expected": {"total": int, "classes": {str: int}, "folds": {str: int}, "without_audio": [str]},
}
_JOINT_SHAPE: dict[str, Any] = {
    "corpora": [str],
    "test_corpus": str,
    "test_split": str,
    "source": str,
    "classes": [str],
    "labels": {str: {str: str}},
    "metrics": [str],
    "where": {str: {str: [str]}},
    "names": dict.fromkeys(NAMED, _NAME_RULES),
    "folds": {"by": {str: str}, "groups": [[str]], "validation": [str], "disjoint": {str: [str]}},
    "expected": {"total": int, "classes": {str: {str: int}}, "folds": {str: int}, "without_audio": [str]},
}
_DECLARED = ("absent", "unassigned")
"""The keys of `[folds]` that declare how many mismatches of a file are known."""
_REQUIRED = ("source", "classes", "metrics", "folds")
_JOINT_HOLD_OUT_KEYS = HOLD_OUT_KEYS[:3]
"""What a fold may hold out of one of several corpora: session, speaker, dialogue."""

Tables = Mapping[str, Any]


def parse(name: str, raw: Tables) -> Protocol:
    """Build a protocol from its TOML tables.

    Raises:
        UsageError: Lists what is missing or of a wrong type; where nothing is, what contradicts something else.
    """
    several = "corpora" in raw
    raw = {key: as_lists(value) if key == "where" else value for key, value in raw.items()}
    kind = raw.get("target", "classes")
    ratings_only = kind == "dimensions" or kind not in KINDS  # an unknown target is named below
    required = ("corpora" if several else "corpus", *(k for k in _REQUIRED if not (ratings_only and k == "classes")))
    missing = [f"{key!r} is missing" for key in required if key not in raw]
    wrong_types = shape_problems(dict(raw), _JOINT_SHAPE if several else _SHAPE)
    raise_problems(missing + wrong_types, f"protocol {name} is wrong")
    protocol = _build(name, raw, _joint_corpora(raw) if several else None)
    problems = _joint_problems(raw) if several else []
    problems += targets.target_problems(protocol.target, raw)
    problems += _metric_problems(protocol) if protocol.target.kind in KINDS else []
    problems += _class_problems(protocol) + _fold_problems(protocol, raw["folds"]) + _count_problems(protocol, raw)
    problems += [problem for attribute, rules in protocol.names.items() for problem in rule_problems(attribute, rules)]
    raise_problems(problems, f"protocol {name} is wrong")
    return protocol


def _build(name: str, raw: Tables, joint: JointCorpora | None) -> Protocol:
    """The protocol as its tables declare it, still unchecked."""
    classes, folds = tuple(raw.get("classes", ())), raw["folds"]
    by = "group" if joint else "file" if "file" in folds else folds.get("by", "")
    held_out = ("speaker",) if by == "file" else (by,) if by in HOLD_OUT_KEYS else ()
    return Protocol(
        name=name,
        corpus="+".join(raw["corpora"]) if joint else raw["corpus"],
        source=raw["source"],
        classes=classes,
        labels=_joined_labels(raw) if joint else raw.get("labels") or {c: c for c in classes},
        label_field=raw.get("label_field", "label"),
        fold_by=by,
        fold_groups=tuple(tuple(group) for group in folds.get("groups", [])),
        disjoint=() if joint else tuple(folds.get("disjoint", held_out)),
        metrics=tuple(raw["metrics"]),
        expected=_expected_counts(raw["expected"], joint is not None) if "expected" in raw else None,
        joint=joint,
        fold_parts=folds.get("parts", 0),
        fold_source=folds.get("file", ""),
        absent=folds.get("absent", 0),
        unassigned=folds.get("unassigned", 0),
        names={
            attribute: NameRules(same=rules.get("same", {}), distinct=tuple(map(tuple, rules.get("distinct", ()))))
            for attribute, rules in raw.get("names", {}).items()
        },
        where=joined_where(raw.get("where", {})) if joint else {k: tuple(v) for k, v in raw.get("where", {}).items()},
        declared_target=targets.parse_target(raw) if targets.SHAPE.keys() & raw.keys() else None,
    )


def _expected_counts(expected: Tables, several: bool) -> ExpectedCounts:
    classes = expected.get("classes", {})
    total: Counter[str] = Counter()
    for of_corpus in classes.values() if several else [classes]:
        total.update(of_corpus)
    return ExpectedCounts(
        total=expected.get("total", 0),
        classes=dict(total),
        folds=expected.get("folds", {}),
        without_audio=tuple(expected.get("without_audio", ())),
        corpora=classes if several else {},
    )


def _class_problems(protocol: Protocol) -> list[str]:
    classes = protocol.classes
    problems = _duplicates(classes, "class")
    problems += [
        f"label {label!r} maps to {value!r}, which is not a class"
        for label, value in protocol.labels.items()
        if value not in classes
    ]
    problems += [f"class {c!r} has no label" for c in classes if c not in protocol.labels.values()]
    problems += [f"where.{key} selects no value" for key, values in protocol.where.items() if not values]
    return problems


def _metric_problems(protocol: Protocol) -> list[str]:
    metrics, valid, selecting = protocol.metrics, valid_metrics(protocol.target), selecting_metrics(protocol.target)
    problems = [] if metrics else ["metrics is empty"]
    problems += [f"no metric named {m!r}; valid: {', '.join(valid)}" for m in metrics if m not in valid]
    if metrics and metrics[0] in valid and metrics[0] not in selecting:
        problems.append(f"the first metric selects, and {metrics[0]} cannot; valid: {', '.join(selecting)}")
    return problems


def _fold_problems(protocol: Protocol, folds: Tables) -> list[str]:
    problems = _duplicates([value for group in protocol.fold_groups for value in group], "folds.groups:")
    if protocol.fold_by == "file":
        problems += [f"folds.{key} has no effect: the file forms the folds" for key in ("by", "groups") if key in folds]
    elif protocol.joint is None and protocol.fold_by not in GROUPINGS:
        problems.append(f"folds.by is {folds.get('by')!r}; valid: {', '.join(GROUPINGS)}; or give folds.file")
    problems += [f"folds.{key} is {folds[key]}; expected 0 or more" for key in _DECLARED if folds.get(key, 0) < 0]
    problems += ["folds.file is empty; expected a path"] if folds.get("file") == "" else []
    if protocol.fold_by != "file":
        problems += [f"folds.{key} needs folds.file" for key in _DECLARED if key in folds]
    if "parts" in folds and (folds["parts"] < 2 or "groups" in folds or protocol.fold_by in ("split", "file")):
        problems.append(
            f"folds.parts is {folds['parts']}; expected at least 2, without folds.groups, folds.file or a split"
        )
    disjoint = protocol.joint.disjoint.values() if protocol.joint else [protocol.disjoint]
    return problems + [
        f"folds.disjoint names {key!r}; valid: {', '.join(HOLD_OUT_KEYS)}"
        for key in dict.fromkeys(key for keys in disjoint for key in keys)
        if key not in HOLD_OUT_KEYS
    ]


def _count_problems(protocol: Protocol, raw: Tables) -> list[str]:
    if protocol.expected is None:
        return []
    problems = [] if "total" in raw["expected"] else ["'expected.total' is missing"]
    return problems + [
        f"expected.classes names {c!r}, which is not a class"
        for c in protocol.expected.classes
        if c not in protocol.classes
    ]


def _duplicates(values: Sequence[str], what: str) -> list[str]:
    return [f"{what} {v!r} is named {n} times" for v, n in Counter(values).items() if n > 1]


# Protocols over several corpora


def _joint_corpora(raw: Tables) -> JointCorpora:
    corpora, test_corpus, folds = raw["corpora"], raw.get("test_corpus"), raw["folds"]
    by, disjoint = folds.get("by", {}), folds.get("disjoint", {})
    defaults = {c: (by[c],) if by.get(c) in _JOINT_HOLD_OUT_KEYS else () for c in corpora}
    return JointCorpora(
        by={c: by.get(c, "") for c in corpora},
        disjoint={c: tuple(disjoint.get(c, defaults[c])) for c in corpora} | ({test_corpus: ()} if test_corpus else {}),
        test_corpus=test_corpus,
        test_split=raw.get("test_split"),
        validation=tuple(folds.get("validation", [])),
    )


def _joined_labels(raw: Tables) -> dict[str, str]:
    """The labels of each corpus as joined names; a corpus without a table has the classes as labels."""
    tables, classes = raw.get("labels", {}), {c: c for c in raw["classes"]}
    return {
        joined_name(corpus, label): value
        for corpus in _all_corpora(raw)
        for label, value in tables.get(corpus, classes).items()
    }


def _all_corpora(raw: Tables) -> list[str]:
    """The training corpora and the test corpus."""
    return [*raw["corpora"], *([raw["test_corpus"]] if "test_corpus" in raw else [])]


def _joint_problems(raw: Tables) -> list[str]:
    return _corpus_problems(raw) + _joint_fold_problems(raw) + _test_corpus_problems(raw)


def _corpus_problems(raw: Tables) -> list[str]:
    corpora, everywhere, folds = raw["corpora"], _all_corpora(raw), raw["folds"]
    problems = _duplicates(everywhere, "corpus")
    problems += [f"corpus {c!r}: '{SEPARATOR}' and '+' join names" for c in everywhere if SEPARATOR in c or "+" in c]
    if len(corpora) < (1 if "test_corpus" in raw else 2):
        problems.append("corpora names fewer than two, and there is no test_corpus; for one corpus use `corpus = ...`")
    tables = {
        "labels": (raw.get("labels", {}), everywhere),
        "where": (raw.get("where", {}), everywhere),
        "folds.by": (folds.get("by", {}), corpora),
        "folds.disjoint": (folds.get("disjoint", {}), corpora),
        "expected.classes": (raw.get("expected", {}).get("classes", {}), everywhere),
    }
    return problems + [
        f"{key} names corpus {c!r}; valid: {', '.join(valid)}"
        for key, (table, valid) in tables.items()
        for c in table
        if c not in valid
    ]


def _joint_fold_problems(raw: Tables) -> list[str]:
    corpora, folds = raw["corpora"], raw["folds"]
    by = folds.get("by", {})
    problems = [
        f"folds.by.{c} is {by.get(c)!r}; valid: {', '.join(_JOINT_HOLD_OUT_KEYS)}"
        for c in corpora
        if by.get(c) not in _JOINT_HOLD_OUT_KEYS
    ]
    values_of = {
        "folds.groups": [value for group in folds.get("groups", []) for value in group],
        "folds.validation": folds.get("validation", []),
    }
    return problems + [
        f"{key} names {value!r}, which is not CORPUS{SEPARATOR}VALUE of {' or '.join(corpora)}"
        for key, values in values_of.items()
        for value in values
        if SEPARATOR not in value or corpus_of(value) not in corpora
    ]


def _test_corpus_problems(raw: Tables) -> list[str]:
    test_corpus, folds, problems = raw.get("test_corpus"), raw["folds"], []
    if test_corpus is None:
        given = {"test_split": "test_split" in raw, "folds.validation": "validation" in folds}
        problems += [f"{key} needs a test_corpus" for key, is_given in given.items() if is_given]
    else:
        if not folds.get("validation"):
            problems.append("folds.validation is missing: the groups of the training corpora that select")
        if "groups" in folds:
            problems.append("folds.groups has no effect where another corpus is tested")
        labels = _joined_labels(raw)
        trained = {value for label, value in labels.items() if corpus_of(label) != test_corpus}
        tested = dict.fromkeys(value for label, value in labels.items() if corpus_of(label) == test_corpus)
        problems += [f"class {c!r} is tested but never trained" for c in tested if c not in trained]
    if raw.get("test_split", "test") not in SPLITS:
        problems.append(f"test_split is {raw['test_split']!r}; valid: {', '.join(SPLITS)}")
    return problems
