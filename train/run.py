"""One call of `fit`: resolve, train fold by fold, score, and leave a run folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emofuse.common.progress import Progress
from emofuse.store import open_store
from emofuse.train import evaluate, folder, summary
from emofuse.train.checkpoint import Recipe
from emofuse.train.config import FitConfig
from emofuse.train.data import Corpus, Indices, Resident
from emofuse.train.folds import Fold
from emofuse.train.loop import train
from emofuse.train.models.base import Inputs
from emofuse.train.models.config import SequenceConfig
from emofuse.train.plan import Plan, resolve, versions, with_seed
from emofuse.train.report import write_report

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A finished fit: where it lies, its metrics.json, and what was left out."""

    out: Path
    metrics: dict[str, Any]
    excluded: tuple[str, ...]


def fit(config: FitConfig, say: Say = print) -> Finished:
    """Fit a model from a store and cross-validate it.

    Raises:
        UsageError: Something about the options, the store's contents or an existing folder.
        DataError: The store is damaged.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    with open_store(config.store) as store:
        plan = resolve(store, config)
        run = plan.identity() | {"seeds": config.seeds}
        out = config.out or folder.default_out(run)
        part = folder.claim(out, _config(plan, run))
        with torch.device("meta"):
            count = sum(p.numel() for p in recipe_of(plan).build().parameters())
        header = summary.header(plan, count)
        for line in header:
            say(line)
        corpus = load(plan)
    if plan.device.type == "cuda":
        # cuBLAS reads this when it starts; without it equal seeds may give unequal sums.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    metrics = (_cross_validate if config.seeds == 1 else _over_seeds)(plan, corpus, part, header, say)
    folder.finish(part, out)
    for line in summary.closing(plan, metrics):
        say(line)
    say(f"run: {out}")
    return Finished(out=out, metrics=metrics, excluded=plan.excluded)


def _config(plan: Plan, run: dict[str, Any]) -> dict[str, Any]:
    return {
        "run": run,
        "store": str(plan.config.store),
        "device": str(plan.device),
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "provenance": {m: dict(f.provenance) for m, f in plan.features.items()},
        "excluded": list(plan.excluded),
    }


def load(plan: Plan) -> Corpus:
    """Read every feature of a plan into the memory of its device."""
    ids = [u.id for u in plan.utterances]
    settings, sides = plan.settings, {}
    for modality, feature in plan.features.items():
        limit = None
        if isinstance(settings, SequenceConfig):
            limit = settings.max_frames if modality == "audio" else settings.max_words
        sides[modality] = Resident.load(feature, ids, plan.device, limit, plan.spec.pool)
    labels = torch.from_numpy(plan.labels).to(plan.device)
    return Corpus(modalities=sides, labels=labels, standardised=plan.standardised)


def recipe_of(plan: Plan) -> Recipe:
    """How the plan's model is built for its features."""
    width = {m: f.dimension * (2 if plan.spec.pool == "mean+deviation" else 1) for m, f in plan.features.items()}
    layers = {len(f.layers) for f in plan.features.values()}
    inputs = Inputs(
        audio=width.get("audio"), text=width.get("text"), layers=max(layers), classes=len(plan.protocol.classes)
    )
    return Recipe(model=plan.config.model, settings=plan.settings, inputs=inputs, classes=plan.protocol.classes)


def _over_seeds(plan: Plan, corpus: Corpus, part: Path, header: list[str], say: Say) -> dict[str, Any]:
    runs = {}
    for seed in range(plan.config.seed, plan.config.seed + plan.config.seeds):
        out = part / f"seed_{seed}"
        if not out.exists():
            one = with_seed(plan, seed)
            seed_part = folder.claim(out, _config(one, one.identity() | {"seeds": 1}))
            say(f"seed {seed}")
            _cross_validate(one, corpus, seed_part, header, say)
            folder.finish(seed_part, out)
        runs[seed] = folder.read_json(out / "metrics.json")
    metrics = summary.over_seeds(runs)
    folder.write_json(part / "metrics.json", metrics)
    return metrics


def _cross_validate(plan: Plan, corpus: Corpus, part: Path, header: list[str], say: Say) -> dict[str, Any]:
    started = time.monotonic()
    recipe = recipe_of(plan)
    todo = [f for f in plan.folds if not (part / f"fold_{f.number}" / evaluate.RESULT).exists()]
    steps = plan.settings.steps
    done = (len(plan.folds) - len(todo)) * steps
    if done:
        say(f"{len(plan.folds) - len(todo)} of {len(plan.folds)} folds are done already; going on with the others")
    place = {u.id: i for i, u in enumerate(plan.utterances)}
    with Progress(len(plan.folds) * steps, f"fit {plan.config.model}", "steps", done) as progress:
        for fold in todo:
            _fit_fold(plan, corpus, recipe, fold, part / f"fold_{fold.number}", place, progress)
    results = [folder.read_json(part / f"fold_{f.number}" / evaluate.RESULT) for f in plan.folds]
    metric = plan.protocol.metrics[0]
    if plan.config.optimism:
        for fold, result in zip(plan.folds, results, strict=True):
            test = _indices(fold.test, place)
            result["optimistic"] = evaluate.optimistic(part / f"fold_{fold.number}", corpus, test, metric)
    predictions = [row for f in plan.folds for row in folder.read_csv(part / f"fold_{f.number}" / "predictions.csv")]
    history = [row for f in plan.folds for row in folder.read_csv(part / f"fold_{f.number}" / "history.csv")]
    metrics = summary.summarise(plan, results, predictions)
    metrics["wall_seconds"] = round(sum(r["seconds"] for r in results), 1)
    metrics["this_call_seconds"] = round(time.monotonic() - started, 1)
    folder.write_csv(part / "predictions.csv", predictions)
    folder.write_csv(part / "history.csv", history)
    folder.write_json(part / "metrics.json", metrics)
    lacking = write_report(part, header, metrics, folder.read_json(part / "config.json"), history)
    if lacking:
        say(lacking)
    return metrics


def _indices(side: tuple[Any, ...], place: dict[str, int]) -> Indices:
    return np.array([place[u.id] for u in side], np.int64)


def _fit_fold(
    plan: Plan, corpus: Corpus, recipe: Recipe, fold: Fold, target: Path, place: dict[str, int], progress: Progress
) -> None:
    started = time.monotonic()
    target.mkdir(exist_ok=True)
    training, validation, test = (_indices(side, place) for side in fold.sides.values())
    fitted = corpus.fitted(training)
    metric = plan.protocol.metrics[0]
    counts = {side: len(members) for side, members in fold.sides.items()}
    if not (target / evaluate.SELECTION).exists():
        trained = train(
            recipe,
            fitted,
            training,
            validation,
            metric=metric,
            seed=plan.config.seed,
            class_weights=_class_weights(plan, training),
            keep_all=plan.config.optimism,
            on_step=lambda step, note: progress.advance(1, ", ".join(filter(None, [f"fold {fold.number}", note]))),
        )
        folder.write_csv(target / "history.csv", [{"fold": fold.number} | row for row in trained.history])
        rule = f"best validation {metric}, ties to the earlier" if len(validation) else "the last step"
        assert fitted.statistics is not None
        evaluate.write_selection(target, recipe, trained, fitted.statistics, rule)
    about = {
        "fold": fold.number,
        "name": fold.name,
        "validated": fold.validated,
        "utterances": counts,
        "seconds": round(time.monotonic() - started, 3),
    }
    ids = [plan.utterances[i].id for i in test.tolist()]
    evaluate.test(target, corpus, test, ids, plan.protocol.classes, about)


def _class_weights(plan: Plan, training: Indices) -> Tensor | None:
    """Balanced: n / (C n_c), as scikit-learn's; a class without a training utterance weighs nothing."""
    if plan.config.class_weights == "none":
        return None
    counts = np.bincount(plan.labels[training], minlength=len(plan.protocol.classes))
    weights = np.divide(len(training), len(counts) * counts, out=np.zeros(len(counts)), where=counts > 0)
    return torch.from_numpy(weights.astype(np.float32)).to(plan.device)
