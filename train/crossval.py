"""Cross-validation: train fold by fold, score each once, gather predictions and metrics; then the same over seeds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emofuse.common import folder
from emofuse.common.progress import Progress
from emofuse.manifests.folds import Fold
from emofuse.train import evaluate, summary
from emofuse.train.checkpoint import Recipe
from emofuse.train.data import Indices
from emofuse.train.load import Loader
from emofuse.train.loop import train
from emofuse.train.plan import Plan, with_seed
from emofuse.train.report import write_report
from emofuse.train.resume import Keeper

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What every fold and every seed of a fit shares."""

    plan: Plan
    recipe: Recipe
    loader: Loader
    header: Sequence[str]
    """What the report says on top."""
    say: Say


def over_seeds(work: Work, part: Path) -> dict[str, Any]:
    """A run of its own per seed, in `seed_N`; what they give together is written to `part`."""
    runs, predictions, history = {}, {}, []
    for seed in range(work.plan.config.seed, work.plan.config.seed + work.plan.config.seeds):
        out = part / f"seed_{seed}"
        if not out.exists():
            one = with_seed(work.plan, seed)
            seed_part = folder.claim(out, one.record(one.identity() | {"seeds": 1}), one.call())
            work.say(f"seed {seed}")
            cross_validate(replace(work, plan=one), seed_part)
            folder.finish(seed_part, out)
        runs[seed] = folder.read_json(out / "metrics.json")
        predictions[seed] = folder.read_csv(out / "predictions.csv")
        history += [{"seed": str(seed)} | row for row in folder.read_csv(out / "history.csv")]
    metrics = summary.over_seeds(runs) | summary.pooled_over_seeds(work.plan, predictions)
    rows = [{"seed": str(seed)} | row for seed, rows in predictions.items() for row in rows]
    _write(work, part, metrics, rows, history)
    return metrics


def cross_validate(work: Work, part: Path) -> dict[str, Any]:
    """Train and score the folds that `part` still lacks, then write what all of them give."""
    plan, started = work.plan, time.monotonic()
    todo = [f for f in plan.folds if not (part / f"fold_{f.number}" / evaluate.RESULT).exists()]
    steps = {f.number: plan.settings.total_steps(len(f.train)) for f in plan.folds}
    done = sum(steps.values()) - sum(steps[f.number] for f in todo)
    if done:
        work.say(f"{len(plan.folds) - len(todo)} of {len(plan.folds)} folds are done already; going on with the others")
    keepers = {f.number: Keeper(part / f"fold_{f.number}", plan.device) for f in todo}
    for number, keeper in keepers.items():
        if keeper.step:
            work.say(f"fold {number} goes on from step {keeper.step}")
            done += keeper.step
    place = {u.id: i for i, u in enumerate(plan.utterances)}
    calls = len(folder.read_json(part / "config.json")["calls"])
    with Progress(sum(steps.values()), f"fit {plan.title}", "steps", done) as progress:
        for fold in todo:
            _fit_fold(work, fold, part / f"fold_{fold.number}", place, keepers[fold.number], progress, calls)
    results = [folder.read_json(part / f"fold_{f.number}" / evaluate.RESULT) for f in plan.folds]
    if plan.config.optimism:
        for fold, result in zip(plan.folds, results, strict=True):
            test, metric = _indices(fold.test, place), plan.protocol.metrics[0]
            target, corpus = part / f"fold_{fold.number}", work.loader.corpus(fold)
            result["optimistic"] = evaluate.optimistic(target, corpus, test, metric)
    predictions = [row for f in plan.folds for row in folder.read_csv(part / f"fold_{f.number}" / "predictions.csv")]
    history = [row for f in plan.folds for row in folder.read_csv(part / f"fold_{f.number}" / "history.csv")]
    metrics = summary.summarise(plan, results, predictions)
    metrics["wall_seconds"] = round(sum(r["seconds"] for r in results), 1)
    metrics["this_call_seconds"] = round(time.monotonic() - started, 1)
    _write(work, part, metrics, predictions, history)
    return metrics


def _write(
    work: Work, part: Path, metrics: dict[str, Any], predictions: Sequence[folder.Row], history: Sequence[Any]
) -> None:
    folder.write_csv(part / "predictions.csv", predictions)
    folder.write_csv(part / "history.csv", history)
    folder.write_json(part / "metrics.json", metrics)
    lacking = write_report(part, work.header, metrics, folder.read_json(part / "config.json"), history)
    if lacking:
        work.say(lacking)


def _indices(side: tuple[Any, ...], place: Mapping[str, int]) -> Indices:
    return np.array([place[u.id] for u in side], np.int64)


def _fit_fold(
    work: Work, fold: Fold, target: Path, place: Mapping[str, int], keeper: Keeper, progress: Progress, call: int
) -> None:
    plan, recipe = work.plan, work.recipe
    target.mkdir(exist_ok=True)
    training, validation, test = (_indices(side, place) for side in fold.sides.values())
    metric, seconds, corpus = plan.protocol.metrics[0], 0.0, work.loader.corpus(fold)
    if not (target / evaluate.SELECTION).exists():
        fitted = corpus.fitted(training)
        trained = train(
            recipe,
            fitted,
            training,
            validation,
            metric=metric,
            seed=plan.config.seed,
            class_weights=_class_weights(plan, training),
            keep_all=plan.config.optimism,
            keeper=keeper,
            on_step=lambda step, note: progress.advance(1, ", ".join(filter(None, [f"fold {fold.number}", note]))),
        )
        seconds = trained.seconds
        folder.write_csv(target / "history.csv", [{"fold": fold.number} | row for row in trained.history])
        rule = f"best validation {metric}, ties to the earlier" if len(validation) else "the last step"
        assert fitted.statistics is not None
        evaluate.write_selection(target, recipe, trained, fitted.statistics, rule)
    keeper.remove()
    about = {
        "fold": fold.number,
        "name": fold.name,
        "validated": fold.validated,
        "utterances": {side: len(members) for side, members in fold.sides.items()},
        "seconds": round(seconds, 3),
        "call": call,
    }
    ids = [plan.utterances[i].id for i in test.tolist()]
    evaluate.test(target, corpus, test, ids, plan.protocol.classes, about, plan.config.score_without)


def _class_weights(plan: Plan, training: Indices) -> Tensor | None:
    """Balanced: n / (C n_c), as scikit-learn's; a class without a training utterance weighs nothing."""
    if plan.config.class_weights == "none":
        return None
    counts = np.bincount(plan.labels[training], minlength=len(plan.protocol.classes))
    weights = np.divide(len(training), len(counts) * counts, out=np.zeros(len(counts)), where=counts > 0)
    return torch.from_numpy(weights.astype(np.float32)).to(plan.device)
