"""Stacks finished runs of one task; leaves a folder of results as `fit` writes it.

In each fold, a logistic regression (L2, C = 1; scikit-learn) reads the logarithms of all runs' class probabilities. It
is fitted on the fold's validation side, where the runs have selected their checkpoints but not trained, and scores the
test side once. A run of several seeds enters with the mean of their probabilities.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack, overload

import numpy as np
import torch
from numpy.typing import NDArray

from emofuse.common.cli.command_line import python_call
from emofuse.common.disk import run_folder
from emofuse.common.disk.digests import digest_of
from emofuse.common.errors import UsageError
from emofuse.common.option_values import checked_config
from emofuse.common.output.console import Say, plural, say
from emofuse.manifests.metrics.scores import METRICS as DEFINITIONS
from emofuse.manifests.metrics.scores import mean_and_deviation
from emofuse.manifests.targets.multilabel import DEFAULT_THRESHOLD
from emofuse.manifests.targets.target import Target
from emofuse.train.fitting.scoring.prediction_table import prediction_rows, rounded
from emofuse.train.fitting.scoring.score_test import score_results
from emofuse.train.resolve.fit_plan import call_record
from emofuse.train.runs.finished_run import PREDICTIONS, UTTERANCES, Run, finished_run
from emofuse.train.runs.reporting import console_report
from emofuse.train.runs.reporting.run_metrics import interval
from emofuse.train.runs.reporting.scored_predictions import ScoredPredictions, details
from emofuse.train.runs.run_files import write_files
from emofuse.train.stacking.config import StackConfig, StackOptions
from emofuse.train.stacking.members import Member, fold_names, read_members

SMALLEST = 1e-6
"""The least probability that predictions.csv can have, beside zero."""
STRENGTH = 1.0
"""C of the logistic regression, the inverse of its regularisation; not tuned."""
_CARRIED = ("reduced", "limit", "short_training", "speaker_standardised", "duplicate_audio", "near_duplicates")
"""Keys in the metrics of a run whose caveats are true of a stack of it."""


@overload
def stack(config: StackConfig, /, *, say: Say = say) -> Run: ...
@overload
def stack(*, say: Say = say, **options: Unpack[StackOptions]) -> Run: ...
def stack(config: StackConfig | None = None, /, *, say: Say = say, **options: Any) -> Run:
    """Fit a logistic regression over several runs on their validation sides, and score it on test.

    Args:
        config: All options in one record.
        say: Prints a line of the report; `lambda line: None` prints nothing.
        **options: Or the same options by name, as `StackConfig` documents them.

    Returns:
        The results, as a finished run without models.

    Raises:
        UsageError: Wrong options, or runs that cannot be stacked; lists all reasons.
        DataError: A run was altered.
    """
    config = checked_config(StackConfig, config, options, say)
    with python_call("stack", config):
        return _stack(read_members(config.members), config, say)


def _stack(members: Sequence[Member], config: StackConfig, say: Say) -> Run:
    identity = _identity(members)
    name = f"{members[0].run.metrics['protocol']}-stack"
    folder = config.out or run_folder.run_path(config.runs, name, identity)
    finished = finished_run(folder, identity)
    if finished is not None:
        say(f"already done: {folder} holds this stack")
    else:
        with run_folder.run_lock(folder):
            _write(folder, members, identity, config, say)
        finished = Run.open(folder)
    for member in members:
        pooled = member.run.metrics["pooled"]
        values = ", ".join(f"{n} {pooled[n]:.3f}" for n in member.run.metrics["metrics"] if pooled.get(n) is not None)
        say(f"stacked   {member.run.folder}: {member.run.metrics['model']}, pooled {values}")
    for line in console_report.closing(finished.metrics):
        say(line)
    say(f"run: {folder}")
    return finished


def _identity(members: Sequence[Member]) -> dict[str, Any]:
    """What decides the numbers: the runs, and the task that they share."""
    first = members[0].run.config["run"]
    features: dict[str, dict[str, Any]] = {}
    for member in members:
        for modality, feature in member.run.config["run"]["features"].items():
            features.setdefault(modality, {})[feature["name"]] = feature
    return {
        "model": "stack",
        "ablation": None,
        "settings": {"C": STRENGTH},
        "seed": 0,
        "seeds": 1,
        **{key: first[key] for key in ("protocol", "corpus", "manifest", "utterances")},
        "features": {
            m: {
                "name": "+".join(by_name),
                "encoder": "+".join(dict.fromkeys(str(f["encoder"]) for f in by_name.values())),
                "dimension": sum(f["dimension"] for f in by_name.values()),
                "fingerprint": {name: f["fingerprint"] for name, f in by_name.items()},
            }
            for m, by_name in features.items()
        },
        "stacked": [
            {
                "run": m.run.folder.resolve().name,
                "model": m.run.metrics["model"],
                "digest": digest_of(m.run.folder / PREDICTIONS),
            }
            for m in members
        ],
    }


def _write(folder: Path, members: Sequence[Member], identity: Mapping[str, Any], config: StackConfig, say: Say) -> None:
    started, first = time.monotonic(), members[0].run
    rows, results = [], []
    for number, (name, validated) in fold_names(first).items():
        fold_rows, result = _stacked_fold(members, number)
        rows += fold_rows
        results.append({"fold": number, "name": name, "validated": validated} | result)
    utterances = run_folder.read_csv(first.folder / UTTERANCES)
    metrics = _metrics(members, rows, results, utterances)
    metrics["wall_seconds"] = metrics["this_call_seconds"] = round(time.monotonic() - started, 1)
    record = {
        "run": identity,
        "stores": first.config.get("stores", {}),
        "stacked_runs": [str(m.run.folder) for m in members],
    }
    partial = run_folder.claim_run(folder, record, call_record(torch.device("cpu")))
    write_files(partial, metrics, rows, utterances, say, report_on=() if config.report else None)
    run_folder.finish_run(partial, folder)


def _stacked_fold(members: Sequence[Member], number: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of predictions.csv of a fold, and its result."""
    classes, first = members[0].run.metrics["classes"], members[0]
    validation, test = first.validation[number].labels, first.test[number].labels
    index = {c: i for i, c in enumerate(classes)}
    fitted_on = _inputs([m.validation[number].of(list(validation)) for m in members])
    targets = np.array([index[label] for label in validation.values()], np.int64)
    if len(set(targets.tolist())) < 2:
        raise UsageError(f"the validation side of fold {number} has one class only, and a stack needs two to be fitted")
    probabilities = fitted_probabilities(
        fitted_on, targets, _inputs([m.test[number].of(list(test)) for m in members]), len(classes)
    )
    labels = np.array([index[label] for label in test.values()], np.int64)
    found = rounded(Target(classes=tuple(classes)), labels, probabilities, DEFAULT_THRESHOLD)
    result = {
        "utterances": {"train": 0, "validation": len(validation), "test": len(test)},
        "step": 0,
        "seconds": 0.0,
        "validation": None,
        **score_results(found),
    }
    return prediction_rows(list(test), number, found), result


def _inputs(probabilities: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """[n, M C], the logarithms of the probabilities [n, C] of M runs."""
    return np.log(np.clip(np.concatenate(probabilities, axis=1), SMALLEST, None))


def fitted_probabilities(
    validation: NDArray[np.float64], targets: NDArray[np.int64], test: NDArray[np.float64], classes: int
) -> NDArray[np.float64]:
    """Class probabilities [t, C] of a logistic regression that is fitted on validation; a class without any gets zero.

    Args:
        validation: [v, F].
        targets: [v], class numbers, at least two different ones.
        test: [t, F].
        classes: C.
    """
    from sklearn.linear_model import LogisticRegression  # takes a second to import

    regression = LogisticRegression(C=STRENGTH, max_iter=1000).fit(validation, targets)
    probabilities = np.zeros((len(test), classes))
    probabilities[:, regression.classes_] = regression.predict_proba(test)
    return probabilities


def _metrics(
    members: Sequence[Member],
    rows: Sequence[dict[str, Any]],
    results: Sequence[dict[str, Any]],
    utterances: Sequence[dict[str, str]],
) -> dict[str, Any]:
    run = members[0].run
    classes, by_id = run.metrics["classes"], {row["id"]: row for row in utterances}
    scored = ScoredPredictions.read(Target(classes=tuple(classes)), rows, [by_id[row["id"]] for row in rows])
    numbers = np.array([row["fold"] for row in rows])
    folds = [{**r, "test": scored.where(numbers == r["fold"]).values() | r["test"]} for r in results]
    mean, deviation = mean_and_deviation([fold["test"] for fold in folds])
    carried = {key: m.run.metrics[key] for key in _CARRIED for m in members if m.run.metrics.get(key)}
    seeds = [plural(len(m.run.seed_folders), "seed") for m in members]
    return {
        "protocol": run.metrics["protocol"],
        "model": "stack",
        "seed": 0,
        "classes": classes,
        "metrics": run.metrics["metrics"],
        "definitions": DEFINITIONS,
        "reduced": {},
        **carried,
        "folds": folds,
        "mean": mean,
        "std": deviation,
        "pooled": scored.values(),
        "interval": interval(run.config["run"]["protocol"], [scored]),
        **details([scored]),
        "stacked": [
            {"run": str(m.run.folder), "model": m.run.metrics["model"], "seeds": len(m.run.seed_folders)}
            for m in members
        ],
        "weights": {},
        "remarks": [
            "a logistic regression over the probabilities of "
            + ", ".join(f"{m.run.metrics['model']} ({s})" for m, s in zip(members, seeds, strict=True))
            + "; fitted on each fold's validation side, scored on test once"
        ],
    }
