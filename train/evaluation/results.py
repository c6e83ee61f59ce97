"""The folder of an evaluation's results: the files of a run, but for weights and history."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emofuse.common.disk import run_folder
from emofuse.common.disk.csv_table import CsvRow
from emofuse.common.output.console import Say, plural, printable
from emofuse.common.output.progress import Progress
from emofuse.manifests.folds.cross_validation import Fold
from emofuse.train.data.loader import Loader
from emofuse.train.fitting.fold import side_indices
from emofuse.train.fitting.scoring.prediction_table import prediction_rows, rounded
from emofuse.train.fitting.scoring.score_test import SELECTION, score_results
from emofuse.train.resolve.fit_plan import FitPlan, with_seed
from emofuse.train.runs.reporting import run_metrics
from emofuse.train.runs.reporting.console_report import classes_line, excluded_line
from emofuse.train.runs.reporting.leak_report import texts_line
from emofuse.train.runs.run_files import write_run_files
from emofuse.train.runs.trained_models import TrainedModel, are_calibrated, mean_values
from emofuse.train.runs.training.final_model import RECORD

LABELS_SHOWN = 12


def header(plan: FitPlan, about: Mapping[str, Any], remarks: Sequence[str]) -> list[str]:
    """What is evaluated, and on what."""
    renamed = [f"{theirs} is {ours}" for theirs, ours in about["labels"].items() if theirs != ours]
    left_out = [f"{label} {n}" for label, n in about["left_out"].items()]
    models = (
        "the final model"
        if about["models"] == "final"
        else f"{about['models']}, {plural(about['model_count'], 'model')}"
    )
    lines = [
        f"run       {about['run']}: {plan.title}, trained on {about['trained_on']}; {models}",
        f"store     {plan.config.store}: {about['evaluated_on']}",
        classes_line(plan),
    ]
    lines += (
        [f"labels    {', '.join(renamed[:LABELS_SHOWN])}{', ...' if len(renamed) > LABELS_SHOWN else ''}"]
        if renamed
        else []
    )
    lines += [f"left out  {', '.join(left_out)}"] if left_out else []
    lines += [f"{m:9} {f.name} ({f.encoder}), {f.dimension}-dimensional" for m, f in plan.features.items()]
    lines += texts_line(plan)
    lines += [f"note      {remark}" for remark in remarks]
    lines += excluded_line(plan)
    return [printable(line, 400) for line in lines]


def write_results(
    folder: Path,
    plan: FitPlan,
    models: Sequence[TrainedModel],
    record: Mapping[str, Any],
    about: Mapping[str, Any],
    remarks: Sequence[str],
    say: Say,
) -> None:
    """Predict every utterance with the models of each seed, and write the folder.

    Args:
        folder: The finished folder; it is written as `NAME.part` and renamed.
        plan: Its folds have test sides only.
        models: Of every seed; on the corpus of the run, a fold's models predict what that fold tests.
        record: What config.json records.
        about: What metrics.json records as `evaluation`.
        remarks: Notes for the user.
        say: Reports what could not be written.
    """

    def write(into: Path, metrics: Mapping[str, Any], predictions: Sequence[CsvRow], say: Say = say) -> None:
        whole = {**metrics, "remarks": list(remarks), "evaluation": dict(about)}
        write_run_files(into, plan, whole, predictions, say)

    partial = run_folder.claim_run(folder, record, plan.call())
    for left in partial.glob("seed_*"):  # of a call that was interrupted
        shutil.rmtree(left)
    seeds = list(dict.fromkeys(m.seed for m in models))
    several, found = len(seeds) > 1, {}
    total = len(plan.utterances) * (len(models) if not about["same_corpus"] else len(seeds))
    loader = Loader(plan, say=say)
    with Progress(total, f"evaluate {plan.title}", "utterances") as progress:
        for seed in seeds:
            of_seed = [m for m in models if m.seed == seed]
            found[seed] = _score_seed(plan, loader, of_seed, progress, same_corpus=about["same_corpus"])
    metrics = {seed: run_metrics.over_folds(with_seed(plan, seed), *found[seed]) for seed in seeds}
    for seed in seeds:
        metrics[seed]["wall_seconds"] = round(sum(r["seconds"] for r in found[seed][0]), 1)
        if several:
            seed_record = {**record, "run": record["run"] | {"seed": seed, "seeds": 1}}
            seed_folder = partial / f"seed_{seed}"
            write(run_folder.claim_run(seed_folder, seed_record, plan.call()), metrics[seed], found[seed][1], _silent)
            run_folder.finish_run(seed_folder.with_name(f"{seed_folder.name}.part"), seed_folder)
    if several:
        rows = {seed: found[seed][1] for seed in seeds}
        whole = run_metrics.over_seeds(metrics) | run_metrics.pooled_over_seeds(plan, rows)
        write(partial, whole, [{"seed": str(seed)} | row for seed in seeds for row in rows[seed]])
    else:
        write(partial, metrics[seeds[0]], found[seeds[0]][1])
    run_folder.finish_run(partial, folder)


def _silent(line: str) -> None:
    """What could not be written for a seed is said once, for the whole evaluation."""


def _score_seed(
    plan: FitPlan, loader: Loader, models: Sequence[TrainedModel], progress: Progress, *, same_corpus: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The results of all folds, and the rows of predictions.csv, by the models of one seed."""
    results, rows = [], []
    for fold in plan.folds:
        used = [m for m in models if m.fold == fold.number] if same_corpus else models
        result, fold_rows = _score_fold(plan, loader, fold, used, progress)
        results.append(result)
        rows += fold_rows
    return results, rows


def _score_fold(
    plan: FitPlan, loader: Loader, fold: Fold, models: Sequence[TrainedModel], progress: Progress
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    started = time.monotonic()
    data, indices = loader.task_data(fold), side_indices(plan, fold)["test"]
    counted = _counted(models, progress, len(indices))
    values, *scaled = mean_values(counted, data, indices, calibrated=are_calibrated(models))
    threshold = float(np.mean([m.threshold for m in models]))
    found = rounded(plan.protocol.target, plan.truth[indices], values, threshold)
    result = {
        "fold": fold.number,
        "name": fold.name,
        "validated": None,
        "utterances": {name: len(members) for name, members in fold.sides.items()},
        "seconds": round(time.monotonic() - started, 3),
        "call": 1,
        "threads": torch.get_num_threads(),
        "step": _mean_step(models),
        "validation": None,
        **score_results(found),
    }
    if scaled and len(models) == 1:
        result["temperature"] = models[0].temperature
    ids = [plan.utterances[i].id for i in indices]
    classes = len(plan.protocol.target.classes)
    return result, prediction_rows(ids, fold.number, found, *(s[:, :classes] for s in scaled))


def _counted(models: Sequence[TrainedModel], progress: Progress, utterances: int) -> Iterator[TrainedModel]:
    """Each model, and after its predictions a step of the progress line."""
    for model in models:
        yield model
        progress.advance(utterances)


def _mean_step(models: Sequence[TrainedModel]) -> int:
    """The mean of the models' selected steps, rounded."""
    steps = []
    for model in models:
        name = RECORD if model.fold is None else SELECTION
        about = run_folder.read_json(model.path.with_name(name))
        steps.append(about["steps" if model.fold is None else "step"])
    return round(float(np.mean(steps)))
