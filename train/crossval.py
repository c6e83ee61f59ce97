"""Cross-validation: train every fold, score each once, gather predictions and metrics; then the same over seeds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from emofuse.common import folder
from emofuse.common.progress import Progress
from emofuse.train import evaluate, jobs, summary
from emofuse.train.fold import Unit, Work, sides
from emofuse.train.plan import with_seed
from emofuse.train.report import write_report
from emofuse.train.resume import Keeper


def over_seeds(work: Work, part: Path) -> dict[str, Any]:
    """A run of its own per seed, in `seed_N`; what they give together is written to `part`."""
    runs, predictions, history = {}, {}, []
    first = work.plan.config.seed
    plans = {seed: with_seed(work.plan, seed) for seed in range(first, first + work.plan.config.seeds)}
    outs = {seed: part / f"seed_{seed}" for seed in plans}
    parts = {
        seed: folder.claim(outs[seed], plan.record(plan.identity() | {"seeds": 1}), plan.call())
        for seed, plan in plans.items()
        if not outs[seed].exists()
    }
    started = time.monotonic()
    _train(work, parts)
    for seed, seed_part in parts.items():
        _summarise(replace(work, plan=plans[seed]), seed_part, started)
        folder.finish(seed_part, outs[seed])
    for seed, out in outs.items():
        runs[seed] = folder.read_json(out / "metrics.json")
        predictions[seed] = folder.read_csv(out / "predictions.csv")
        history += [{"seed": str(seed)} | row for row in folder.read_csv(out / "history.csv")]
    metrics = summary.over_seeds(runs) | summary.pooled_over_seeds(work.plan, predictions)
    rows = [{"seed": str(seed)} | row for seed, rows in predictions.items() for row in rows]
    _write(work, part, metrics, rows, history)
    return metrics


def cross_validate(work: Work, part: Path) -> dict[str, Any]:
    """Train and score the folds that `part` still lacks, then write what all of them give."""
    started = time.monotonic()
    _train(work, {work.plan.config.seed: part})
    return _summarise(work, part, started)


def _train(work: Work, parts: Mapping[int, Path]) -> None:
    """Train and score what the parts, one for each seed, still lack."""
    plan, units, done = work.plan, [], 0
    steps = {f.number: plan.settings.total_steps(len(f.train)) for f in plan.folds}
    for seed, part in parts.items():
        calls = len(folder.read_json(part / "config.json")["calls"])
        all_units = [Unit(seed=seed, fold=n, folder=part / f"fold_{n}", call=calls) for n in steps]
        todo = [unit for unit in all_units if not unit.done]
        of = f"seed {seed}: " if len(parts) > 1 else ""
        if len(todo) < len(all_units):
            ready = len(all_units) - len(todo)
            work.say(f"{of}{ready} of {len(all_units)} folds are done already; going on with the others")
        for unit in todo:
            at = Keeper(unit.folder, plan.device).step
            if at:
                work.say(f"{of}fold {unit.fold} goes on from step {at}")
            done += at
        done += sum(steps[unit.fold] for unit in all_units if unit.done)
        units += todo
    with Progress(sum(steps.values()) * len(parts), f"fit {plan.title}", "steps", done) as progress:

        def advance(unit: Unit, amount: int, note: str) -> None:
            which = f"seed {unit.seed}, fold {unit.fold}" if len(parts) > 1 else f"fold {unit.fold}"
            progress.advance(amount, ", ".join(filter(None, [which, note])))

        jobs.run(work, units, advance)


def _summarise(work: Work, part: Path, started: float) -> dict[str, Any]:
    """Write what the folds of one seed give together."""
    plan = work.plan
    results = [folder.read_json(part / f"fold_{f.number}" / evaluate.RESULT) for f in plan.folds]
    if plan.config.optimism:
        for fold, result in zip(plan.folds, results, strict=True):
            test, metric = sides(plan, fold)["test"], plan.protocol.metrics[0]
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
