"""The final model of a finished run: one model on all data; the run's score remains the cross-validated one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from emofuse.common.disk import run_folder
from emofuse.common.output.console import Say, plural
from emofuse.common.output.progress import Progress
from emofuse.train.data.loader import Loader
from emofuse.train.fitting import model_file
from emofuse.train.fitting.fold import FitContext, augmented_data, balanced_groups, class_weights
from emofuse.train.fitting.loop import DivergedError, TrainingJob, TrainingResult, train
from emofuse.train.fitting.resume import FoldCheckpoint
from emofuse.train.fitting.scoring import score_test
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.runs import run_digests
from emofuse.train.runs.finished_run import FINAL, METRICS, Run
from emofuse.train.runs.fit_context import fit_context
from emofuse.train.runs.page.record import RunRecord
from emofuse.train.runs.run_files import REPORT_FILES, write_report

RECORD = "final.json"
"""Describes the final model, in its folder."""


def add_final_model(plan: FitPlan, run: Run, say: Say) -> Run:
    """Train the final model of a finished run, unless it has one, and write it to `final` in the run folder.

    An interrupted training resumes. No other number of the run changes.

    Args:
        plan: Of the run.

    Returns:
        The run, whose metrics describe the final model.

    Raises:
        DivergedError: The training loss became NaN or infinite.
        DataError: A feature or the saved training state is damaged.
    """
    folder = run.folder / FINAL
    with run_folder.run_lock(run.folder):
        trains = not (folder / RECORD).exists()
        if trains or "final" not in run.metrics or run_digests.rewriting_was_stopped(run.folder):
            context = fit_context(plan, Loader(plan, say=say), say)
            if trains:
                _train(context, run)
            run = _with_final_metrics(context, run)
    final = run.metrics["final"]
    say(
        f"final: {folder / score_test.WEIGHTS}, trained on all {plural(final['utterances'], 'utterance')} for "
        f"{plural(final['steps'], 'step')} ({final['rule']}); it has no score of its own"
    )
    return run


def _train(context: FitContext, run: Run) -> None:
    """Train in `.final.part`, and rename it when it is complete."""
    plan, partial = context.plan, run.folder / f".{FINAL}.part"  # hidden files have no digest
    partial.mkdir(exist_ok=True)
    chosen, (steps, rule) = _selected_steps(run), _duration(plan, run)
    everything = np.arange(len(plan.utterances))
    data = context.loader.task_data(plan.folds[0]).with_statistics_of(everything)
    job = TrainingJob(
        recipe=context.recipe,
        data=data,
        training=everything,
        validation=everything[:0],
        augmented=augmented_data(context, plan.folds[0], data, everything),
        metric=plan.protocol.metrics[0],
        seed=plan.config.seed,
        class_weights=class_weights(plan, everything),
        groups=balanced_groups(plan, data, everything),
        precision=plan.config.precision,
        stop=steps,
    )
    result = _train_with_progress(plan, job, FoldCheckpoint(partial, plan.device))
    assert data.statistics is not None
    run_folder.write_csv(partial / score_test.HISTORY, result.history)
    model_file.save(partial / score_test.WEIGHTS, context.recipe, result.model.state_dict(), data.statistics)
    record = {
        "steps": steps,
        "rule": rule,
        "selected_steps": chosen,
        "seed": plan.config.seed,
        "utterances": len(everything),
        "seconds": round(result.seconds, 3),
        "call": plan.call(),
    }
    run_folder.write_json(partial / RECORD, record)
    partial.replace(run.folder / FINAL)


def _train_with_progress(plan: FitPlan, job: TrainingJob, checkpoint: FoldCheckpoint) -> TrainingResult:
    assert job.stop is not None
    with Progress(job.stop, f"final {plan.title}", "steps", checkpoint.step) as progress:
        try:
            result = train(job, checkpoint, lambda step, note: progress.advance(1, note))
        except DivergedError as error:
            raise DivergedError(f"{plan.title}, final model: {error}") from None
    checkpoint.remove()
    return result


def _duration(plan: FitPlan, run: Run) -> tuple[int, str]:
    """How many steps the final model is trained, and the rule that says so."""
    if plan.config.select == "last":
        return plan.training_steps(plan.utterances), "the fixed number of --select last"
    chosen = _selected_steps(run)
    return max(1, round(float(np.mean(chosen)))), f"the mean of what validation selected, {len(chosen)} times"


def _selected_steps(run: Run) -> list[int]:
    """The selected step of each seed and fold."""
    return [
        int(fold["step"])
        for folder in run.seed_folders.values()
        for fold in run_folder.read_json(folder / METRICS)["folds"]
    ]


def _with_final_metrics(context: FitContext, run: Run) -> Run:
    """Describe the final model in metrics.json and in the report."""
    record: dict[str, Any] = run_folder.read_json(run.folder / FINAL / RECORD)
    metrics = run.metrics | {"final": {key: record[key] for key in ("steps", "rule", "seed", "utterances")}}
    if "weights" in metrics:
        own = run_digests.weights_digests(run.folder / FINAL)
        metrics["weights"] = metrics["weights"] | {f"{FINAL}/{name}": digest for name, digest in own.items()}
    files = [METRICS, *REPORT_FILES, *(f"{FINAL}/{name}" for name in (score_test.WEIGHTS, RECORD, score_test.HISTORY))]
    with run_digests.rewriting(run.folder, files):
        run_folder.write_json(run.folder / METRICS, metrics)
        if context.plan.config.report:
            write_report(run.folder, RunRecord.read(replace(run, metrics=metrics)), context.plan.utterances)
    return replace(run, metrics=metrics)
