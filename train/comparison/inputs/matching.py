"""Which runs can be compared: the same task, the same test utterances with the same labels, in the same folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emofuse.common.errors import raise_problems
from emofuse.common.output.console import plural
from emofuse.train.comparison.inputs.run_predictions import RunPredictions
from emofuse.train.runs.reporting.run_identity import FREE_KEYS

_SHOWN = 3
Pairs = Sequence[tuple[int, int]]
"""The places of the same utterance in two runs."""


def refuse_incomparable(runs: Sequence[RunPredictions]) -> None:
    """Refuse runs that were not tested on the same utterances of the same task.

    Raises:
        UsageError: Names what differs from the first run, of each run.
    """
    problems = [f"{run.run.folder}: {problem}" for run in runs[1:] for problem in _differences(runs[0], run)]
    first = runs[0].run.folder
    raise_problems(problems, f"not comparable with {first}; compare runs of one protocol on the same utterances")


def _differences(first: RunPredictions, other: RunPredictions) -> list[str]:
    """How a run's task differs from the first one's."""
    if first.run.folder.resolve() == other.run.folder.resolve():
        return ["the same run twice"]
    if first.target.kind != other.target.kind:  # everything else then differs too
        return [f"its target is {other.target.kind}, not {first.target.kind}"]
    problems = _protocol_differences(first, other)
    only_first, only_other = sorted(set(first.ids) - set(other.ids)), sorted(set(other.ids) - set(first.ids))
    if only_first:
        problems.append(f"does not test {_listed(only_first)}{_reason(other, only_first)}")
    if only_other:
        problems.append(f"tests {_listed(only_other)} that {first.run.folder} does not{_reason(first, only_other)}")
    problems += _label_differences(first, other)
    return problems or _copy_of(first, other)


def _protocol_differences(first: RunPredictions, other: RunPredictions) -> list[str]:
    ours, theirs = first.protocol, other.protocol
    keys = [k for k in dict.fromkeys((*ours, *theirs)) if k not in FREE_KEYS and ours.get(k) != theirs.get(k)]
    return [f"protocol {key} is {_value(theirs.get(key))}, not {_value(ours.get(key))}" for key in keys]


def _label_differences(first: RunPredictions, other: RunPredictions) -> list[str]:
    """Utterances that both test, with another label or in another fold."""
    theirs = {id: i for i, id in enumerate(other.ids)}
    both = [(i, theirs[id]) for i, id in enumerate(first.ids) if id in theirs]
    problems = []
    if not first.target.has_class or not other.target.has_class:
        return _truth_differences(first, other, both) + _fold_differences(first, other, both)
    labelled = [(i, j) for i, j in both if first.classes[first.labels[i]] != other.classes[other.labels[j]]]
    if labelled:
        shown = [
            f"{first.ids[i]} {other.classes[other.labels[j]]}, not {first.classes[first.labels[i]]}"
            for i, j in labelled[:_SHOWN]
        ]
        problems.append(f"{plural(len(labelled), 'utterance')} with other labels ({'; '.join(shown)}{_more(labelled)})")
    return problems + _fold_differences(first, other, both)


def _truth_differences(first: RunPredictions, other: RunPredictions, both: Pairs) -> list[str]:
    """Utterances of which both know other true values."""
    ours, theirs = first.found[0].truth, other.found[0].truth
    if ours.shape[1:] != theirs.shape[1:]:
        return ["other values are predicted"]
    changed = [first.ids[i] for i, j in both if not np.array_equal(ours[i], theirs[j])]
    return [f"{_listed(changed)} with other true values"] if changed else []


def _fold_differences(first: RunPredictions, other: RunPredictions, both: Pairs) -> list[str]:
    problems = []
    moved = [(i, j) for i, j in both if first.folds[i] != other.folds[j]]
    if moved:
        shown = [f"{first.ids[i]} in fold {other.folds[j]}, not {first.folds[i]}" for i, j in moved[:_SHOWN]]
        problems.append(f"{plural(len(moved), 'utterance')} in other folds ({'; '.join(shown)}{_more(moved)})")
    return problems


def _copy_of(first: RunPredictions, other: RunPredictions) -> list[str]:
    """Two folders with one run, such as a copy."""
    same = first.run.config["run"] == other.run.config["run"] and first.seeds == other.seeds
    return ["the same run twice, equal settings in two folders"] if same and _equal(first, other) else []


def _equal(first: RunPredictions, other: RunPredictions) -> bool:
    if first.predictions.shape != other.predictions.shape or (first.predictions != other.predictions).any():
        return False
    pairs = zip(first.found, other.found, strict=True)
    return all(np.array_equal(a.values, b.values) for a, b in pairs)


def _reason(run: RunPredictions, missing: Sequence[str]) -> str:
    """Why a run does not test utterances, where its config.json says so."""
    config = run.run.config
    excluded = [i for i in missing if i in config.get("excluded", {})]
    if excluded:
        return f"; without an up-to-date feature there: {len(excluded)}; extract it, or give --missing-as-wrong"
    folds = config["run"].get("folds")
    return f"; it tests fold {', '.join(map(str, folds))} alone" if folds and len(folds) == 1 else ""


def _listed(ids: Sequence[str]) -> str:
    return f"{plural(len(ids), 'utterance')} ({', '.join(ids[:_SHOWN])}{_more(ids)})"


def _more(items: Sequence[Any]) -> str:
    return ", ..." if len(items) > _SHOWN else ""


def _value(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
