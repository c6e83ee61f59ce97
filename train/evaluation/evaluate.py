"""Evaluates a finished run on another store: the same models, no training, a folder of results as `fit` writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack, overload

import torch

from emofuse.common.cli.command_line import python_call
from emofuse.common.disk import run_folder
from emofuse.common.disk.digests import digest_of
from emofuse.common.option_values import checked_config
from emofuse.common.output.console import Say, say
from emofuse.common.system.machine import check_threads
from emofuse.store import Feature, FeatureStore
from emofuse.train.evaluation.config import EvaluateConfig, EvaluateOptions
from emofuse.train.evaluation.match_features import match_features
from emofuse.train.evaluation.results import header, write_results
from emofuse.train.evaluation.shared_data import SharedData, check_shared_data
from emofuse.train.evaluation.task import EvaluationTask, evaluation_task
from emofuse.train.models.registry import variant
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.device import find_device
from emofuse.train.resolve.dialogues import dialogue_turns
from emofuse.train.resolve.features.combined_feature import CombinedFeature
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.resolve.speakers import BY_SPEAKER, speaker_clips
from emofuse.train.resolve.task_selection import TaskSelection
from emofuse.train.runs.finished_run import METRICS, Run, finished_run
from emofuse.train.runs.reporting import console_report
from emofuse.train.runs.reporting.caveats import caveats
from emofuse.train.runs.trained_models import TrainedModel, trained_models
from emofuse.train.runs.training.fit import ALREADY_DONE, RUN_FOLDER

CARRIED = ("reduced", "limit", "short_training", "shuffled")
"""Keys in the metrics of a run whose caveats are true of its models too."""
_OF_TESTED_DATA = ("protocol", "corpus", "manifest", "utterances", "features", "folds", "seed")
"""Keys of an identity that are those of the tested data; the others say how the run was trained."""


@overload
def evaluate(config: EvaluateConfig, /, *, say: Say = say) -> Run: ...
@overload
def evaluate(*, say: Say = say, **options: Unpack[EvaluateOptions]) -> Run: ...
def evaluate(config: EvaluateConfig | None = None, /, *, say: Say = say, **options: Any) -> Run:
    """Evaluate a finished run on another store, without training; leaves a folder of results like that of a run.

    Args:
        config: All options in one record.
        say: Prints a line of the report; `lambda line: None` prints nothing.
        **options: Or the same options by name, as `EvaluateConfig` documents them.

    Returns:
        The results, as a finished run without models.

    Raises:
        UsageError: Wrong options, a store without the run's features or labels, or one that shares data with training.
        DataError: The store or the run is damaged.
    """
    config = checked_config(EvaluateConfig, config, options, say)
    with python_call("evaluate", config):
        return _evaluate_run(config, say)


def _evaluate_run(config: EvaluateConfig, say: Say) -> Run:
    if config.threads is not None:
        torch.set_num_threads(check_threads(config.threads))
    run, device = Run.open(config.run), find_device(config.device)
    models = trained_models(run, config.fold, device, final=config.refit)
    with FeatureStore(config.store) as store:
        evaluation = _prepare(config, run, models, store)
        return _evaluate(evaluation, config, say)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evaluation:
    run: Run
    models: Sequence[TrainedModel]
    plan: FitPlan
    about: dict[str, Any]
    """What metrics.json says of the evaluation."""
    identity: dict[str, Any]
    remarks: Sequence[str]


def _prepare(config: EvaluateConfig, run: Run, models: Sequence[TrainedModel], store: FeatureStore) -> _Evaluation:
    """Match features and labels, and check what run and store share."""
    features = match_features(run, store, models[0].recipe)
    task = evaluation_task(run, store, features, config)
    if task.same_corpus:
        models = [m for m in models if m.fold in {f.number for f in task.folds}]
    shared = check_shared_data(run, store, features, task, allow_duplicates=config.allow_duplicates)
    plan = _plan(config, run, models, store, features, task, shared)
    used = "final" if config.refit else f"fold {config.fold}" if config.fold else "all folds"
    about = {
        "run": str(run.folder),
        "trained_on": task.trained_on,
        "evaluated_on": store.corpus,
        "same_corpus": task.same_corpus,
        "models": used,
        "model_count": len(models),
        **_label_record(task),
        "shared_audio": list(shared.audio),
        "unchecked_stores": list(shared.unchecked),
        "run_caveats": _caveats_of_models(run, task),
    }
    return _Evaluation(
        run=run,
        models=models,
        plan=plan,
        about=about,
        identity=_identity(run, models, plan, used),
        remarks=_remarks(task, shared),
    )


def _caveats_of_models(run: Run, task: EvaluationTask) -> list[str]:
    """The caveats of a run that are true of its models on the tested data."""
    keys = (*CARRIED, "duplicate_audio") if task.same_corpus else CARRIED
    return caveats({key: run.metrics[key] for key in keys if key in run.metrics})


def _label_record(task: EvaluationTask) -> dict[str, Any]:
    labels = task.label_map
    return {
        "labels": dict(labels.labels),
        "left_out": dict(labels.left_out),
        "absent_classes": list(labels.absent),
        "untested": task.untested,
    }


def _remarks(task: EvaluationTask, shared: SharedData) -> list[str]:
    remarks = list(shared.remarks)
    if task.untested:
        remarks.append(f"{task.untested} utterances that the run has not tested are left out")
    return remarks


def _plan(
    config: EvaluateConfig,
    run: Run,
    models: Sequence[TrainedModel],
    store: FeatureStore,
    features: Mapping[str, Feature | CombinedFeature],
    task: EvaluationTask,
    shared: SharedData,
) -> FitPlan:
    """The evaluation as a plan of a fit that trains nothing: what loads features and writes results takes one."""
    recipe, recorded = models[0].recipe, run.config["run"]
    model, ablation, spec = variant(recorded["model"], recorded["ablation"])
    seeds = list(dict.fromkeys(m.seed for m in models))
    by_speaker = tuple(recorded.get(BY_SPEAKER, ()))
    return FitPlan(
        config=FitConfig(
            store=config.store, model=model, seed=seeds[0], seeds=len(seeds), device=config.device, out=config.out
        ),
        model=model,
        ablation=ablation,
        protocol=task.protocol,
        spec=spec,
        settings=recipe.settings,
        preset=recipe.settings,
        stores={store.corpus: str(store.path)},
        features=dict(features),
        standardised=tuple(models[0].statistics),
        speaker_standardised=by_speaker,
        speaker_clips=speaker_clips(store.manifest.utterances, task.utterances) if by_speaker else {},
        utterances=task.utterances,
        truth=task.protocol.truth(task.utterances),
        folds=task.folds,
        dialogues=dialogue_turns(spec, model, task.utterances),
        task=TaskSelection(
            utterances=task.utterances, excluded=task.excluded, counted=len(task.utterances), missing=task.missing
        ),
        shared=shared.material,
        device=find_device(config.device),
        manifest_digest=store.manifest.digest(),
    )


def _identity(run: Run, models: Sequence[TrainedModel], plan: FitPlan, used: str) -> dict[str, Any]:
    """Everything that decides the numbers: how the run was trained, its weights, and what is tested."""
    tested = {key: value for key, value in plan.identity().items() if key in _OF_TESTED_DATA}
    weights = {m.path.relative_to(run.folder).as_posix(): digest_of(m.path) for m in models}
    identity = run.config["run"] | tested | {"seeds": plan.config.seeds}
    identity["evaluation"] = {"models": used, "weights": weights, "run_protocol": run.metrics["protocol"]}
    return json.loads(json.dumps(identity))  # type: ignore[no-any-return]


def _evaluate(evaluation: _Evaluation, config: EvaluateConfig, say: Say) -> Run:
    """Predict, score and write, unless that is done."""
    plan, identity = evaluation.plan, evaluation.identity
    name = f"{evaluation.run.metrics['protocol']}-{plan.model}-on-{plan.protocol.name}"
    folder = config.out or run_folder.run_path(config.runs, name, identity)
    finished = finished_run(folder, identity)
    if finished is not None:
        metrics = finished.metrics
        say(f"{ALREADY_DONE}: {folder} holds this evaluation")
    else:
        for line in header(plan, evaluation.about, evaluation.remarks):
            say(line)
        record = plan.record(identity) | {"evaluated_run": str(evaluation.run.folder)}
        with run_folder.run_lock(folder):
            write_results(folder, plan, evaluation.models, record, evaluation.about, evaluation.remarks, say)
        metrics = run_folder.read_json(folder / METRICS)
    return _report(folder, metrics, plan, say)


def _report(folder: Path, metrics: dict[str, Any], plan: FitPlan, say: Say) -> Run:
    for line in console_report.closing(metrics):
        say(line)
    say(f"{RUN_FOLDER}: {folder}")
    return Run(folder=folder, metrics=metrics, excluded=tuple(plan.task.excluded))
