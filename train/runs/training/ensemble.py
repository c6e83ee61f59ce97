"""The ensemble of a run's seeds: their mean probabilities, scored once beside the seeds; nothing is selected by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from emofuse.common.disk import run_folder
from emofuse.common.output.console import Say, plural
from emofuse.manifests.metrics.scores import mean_and_deviation, short_name
from emofuse.train.fitting.scoring.prediction_table import Predictions, read_predictions
from emofuse.train.fitting.scoring.recorded_target import target_of
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.runs import run_digests
from emofuse.train.runs.finished_run import METRICS, PREDICTIONS, UTTERANCES, Run
from emofuse.train.runs.page.record import RunRecord
from emofuse.train.runs.reporting.run_metrics import interval
from emofuse.train.runs.reporting.score_text import score
from emofuse.train.runs.reporting.scored_predictions import ScoredPredictions, details
from emofuse.train.runs.run_files import REPORT_FILES, write_report


def add_ensemble(plan: FitPlan, run: Run, say: Say) -> Run:
    """Score the mean probabilities of a finished run's seeds, unless that is done, and describe them in metrics.json.

    No other number of the run changes.

    Args:
        plan: Of the run.
        run: Of several seeds.
        say: Prints the scores.
    """
    with run_folder.run_lock(run.folder):
        if "ensemble" not in run.metrics or run_digests.rewriting_was_stopped(run.folder):
            run = replace(run, metrics=run.metrics | {"ensemble": ensemble_scores(run)})
            with run_digests.rewriting(run.folder, [METRICS, *REPORT_FILES]):
                run_folder.write_json(run.folder / METRICS, run.metrics)
                if plan.config.report:
                    write_report(run.folder, RunRecord.read(run), plan.utterances)
    say(_line(run, plan.shown_metrics))
    return run


def ensemble_scores(run: Run) -> dict[str, Any]:
    """The scores of the mean values over a run's seeds, for metrics.json; of labels what most seeds predict."""
    target = target_of(run.metrics)
    by_seed: dict[str, list[Mapping[str, str]]] = {}
    for row in run_folder.read_csv(run.folder / PREDICTIONS):
        by_seed.setdefault(row["seed"], []).append(row)
    about = {row["id"]: row for row in run_folder.read_csv(run.folder / UTTERANCES)}
    first = next(iter(by_seed.values()))
    found = [read_predictions(target, _in_order(rows, first)) for rows in by_seed.values()]
    scored = ScoredPredictions(found=_mean(found), calibrated=None, utterances=[about[row["id"]] for row in first])
    numbers = np.array([row["fold"] for row in first])
    mean, deviation = mean_and_deviation([scored.where(numbers == n).values() for n in dict.fromkeys(numbers.tolist())])
    return {
        "seeds": run.metrics["seeds"],
        "mean": mean,
        "std": deviation,
        "pooled": scored.values(),
        "interval": interval(run.config["run"]["protocol"], [scored]),
        **{key: value for key, value in details([scored]).items() if key == "calibration"},
    }


def _in_order(rows: Sequence[Mapping[str, str]], of: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """The rows of one seed in the order of those of another."""
    by_id = {row["id"]: row for row in rows}
    return [by_id[row["id"]] for row in of]


def _mean(found: Sequence[Predictions]) -> Predictions:
    target = found[0].target
    values = np.mean([f.values for f in found], axis=0)
    sets = [f.sets for f in found if f.sets is not None]
    classes = len(target.classes)
    return Predictions(
        target=target,
        truth=found[0].truth,
        values=values,
        predicted=values[:, :classes].argmax(1) if target.has_class else found[0].predicted,
        sets=np.mean(sets, axis=0) > 0.5 if sets else None,
    )


def _line(run: Run, names: tuple[str, ...]) -> str:
    found = run.metrics["ensemble"]
    scores = []
    for name in names:
        bounds = found["interval"].get(name)
        limits = f" (95 %: {score(bounds[0])} to {score(bounds[1])})" if bounds else ""
        single = score(run.metrics["pooled"].get(name))
        scores.append(f"{short_name(name)} {score(found['pooled'].get(name))}{limits}, single seeds {single}")
    averaged = "probabilities" if target_of(run.metrics).has_class else "predictions"
    return f"ensemble: mean {averaged} of {plural(len(found['seeds']), 'seed')}, pooled: {'; '.join(scores)}"
