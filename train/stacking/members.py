"""The runs that are stacked: what each predicts on the validation and test sides of the same folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emofuse.common.disk.run_folder import read_csv, read_json
from emofuse.common.errors import UsageError
from emofuse.common.problems import Problems
from emofuse.train.fitting.file_names import METRICS, PREDICTIONS, VALIDATION
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.reporting.tested_utterances import tested_utterances

SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What a run predicts for the n utterances of one side of a fold; of several seeds, the mean."""

    labels: Mapping[str, str]
    """Id -> its class, in the order of the predictions."""
    probabilities: NDArray[np.float64]
    """[n, C]."""

    def of(self, ids: Sequence[str]) -> NDArray[np.float64]:
        """The probabilities of `ids` [n], in their order."""
        place = {id: i for i, id in enumerate(self.labels)}
        return self.probabilities[[place[id] for id in ids]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One of the runs."""

    run: Run
    validation: Mapping[int, Side]
    """Number of a fold -> its validation side."""
    test: Mapping[int, Side]


def read_members(folders: Sequence[Path]) -> list[Member]:
    """Read and check the runs.

    Raises:
        UsageError: Folders that are no runs, runs without validation probabilities, or runs of different tasks, folds
            or utterances; lists all of it.
        DataError: A run was altered.
    """
    problems, members = Problems(), list[Member]()
    for folder in folders:
        with problems.collecting():
            members.append(_read(folder))
    for other in members[1:]:
        for line in _differences(members[0], other):
            problems.add(f"{other.run.folder} and {members[0].run.folder}: {line}")
    problems.raise_all()
    return members


def _read(folder: Path) -> Member:
    run = Run.open(folder)
    classes, numbers = run.metrics["classes"], run.config["run"].get("folds", [])
    if "evaluation" in run.metrics:
        raise UsageError(f"{folder} is an evaluation, which has no validation side: pass a run of fit")
    if "target" in run.metrics:
        kind = run.metrics["target"]["kind"]
        raise UsageError(f"{folder} predicts {kind}, and a stack reads the probabilities of one class: leave it out")
    if "shuffled" in run.metrics:
        raise UsageError(f"{folder} is a sanity run (--shuffle), not a result: leave it out")
    if not numbers:
        raise UsageError(f"{folder} has no folds of its own, and so no validation side: pass a run of fit")
    if run.config["run"].get("select") == "last":
        raise UsageError(f"{folder} was trained without a validation side (--select last): fit it with one")
    without = [n for n in numbers for f in run.seed_folders.values() if not (f / f"fold_{n}" / VALIDATION).is_file()]
    if without:
        raise UsageError(
            f"{folder} has no {VALIDATION} in fold {', '.join(map(str, dict.fromkeys(without)))}: a version that did "
            "not keep the predictions on validation wrote it; delete the folder and repeat its fit"
        )
    validation, test = {}, {}
    predictions = read_csv(folder / PREDICTIONS)
    for number in numbers:
        rows = [row for f in run.seed_folders.values() for row in read_csv(f / f"fold_{number}" / VALIDATION)]
        validation[number] = _side(rows, classes)
        test[number] = _side([row for row in predictions if row["fold"] == str(number)], classes)
    return Member(run=run, validation=validation, test=test)


def _side(rows: Sequence[dict[str, str]], classes: Sequence[str]) -> Side:
    tested = tested_utterances(rows, classes, ())
    probabilities = np.array([[t.probabilities[c] for c in classes] for t in tested]).reshape(-1, len(classes))
    return Side(labels={t.id: t.label for t in tested}, probabilities=probabilities)


def _differences(one: Member, other: Member) -> list[str]:
    """Why two runs cannot be stacked, one line each."""
    first, second = (m.run.config["run"]["protocol"] for m in (one, other))
    if differing := sorted(key for key in {*first, *second} if first.get(key) != second.get(key)):
        return [f"their protocols differ in {', '.join(differing)}: stack runs of one task"]
    if one.test.keys() != other.test.keys():
        folds = (", ".join(map(str, m.test)) for m in (other, one))
        return [f"they have folds {' and '.join(folds)}: stack runs of the same folds (--folds)"]
    return [
        f"on the {name} side of fold {number}, {line}"
        for name, a, b in (("validation", one.validation, other.validation), ("test", one.test, other.test))
        for number in a
        for line in _side_differences(b[number], a[number])
    ]


def _side_differences(one: Side, other: Side) -> list[str]:
    only = [sorted(a.labels.keys() - b.labels.keys()) for a, b in ((one, other), (other, one))]
    lines = [f"only {'the first' if i == 0 else 'the second'} has {_named(ids)}" for i, ids in enumerate(only) if ids]
    relabelled = sorted(id for id, label in one.labels.items() if other.labels.get(id, label) != label)
    return lines + ([f"the labels differ of {_named(relabelled)}"] if relabelled else [])


def _named(ids: Sequence[str]) -> str:
    return f"{len(ids)}: {', '.join(ids[:SHOWN])}{', ...' if len(ids) > SHOWN else ''}"


def fold_names(run: Run) -> dict[int, tuple[str, str | None]]:
    """Number -> the name of a fold, and the group that it validates on."""
    folder = next(iter(run.seed_folders.values()))
    return {fold["fold"]: (fold["name"], fold.get("validated")) for fold in read_json(folder / METRICS)["folds"]}
