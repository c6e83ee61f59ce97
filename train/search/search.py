"""Hyper-parameter search: each trial trains all folds and is scored on validation only; test is never scored."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import mean, pstdev
from typing import TYPE_CHECKING, Any, Literal

from emofuse.common.disk import run_folder
from emofuse.common.errors import DataError, UsageError, raise_problems
from emofuse.common.output.console import Say, format_table, say
from emofuse.common.output.progress import Progress
from emofuse.manifests.metrics.scores import goodness
from emofuse.train.data.loader import Loader
from emofuse.train.fitting.fold import TrainingUnit
from emofuse.train.fitting.loop import DivergedError
from emofuse.train.fitting.scoring import score_test
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.runs.fit_context import fit_context, resolved
from emofuse.train.runs.processes.execute import train_units
from emofuse.train.runs.processes.process_count import workload
from emofuse.train.search.space import Space, UnfitError, Value, read_space, setting_pairs

if TYPE_CHECKING:  # optuna is optional
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

JOURNAL = "trials.log"
"""Optuna's record of the trials, in the search folder."""
TRIALS_SHOWN = 5
_STUDY_NAME = "search"
_NOT_IN_FIT_COMMAND = (
    "store",
    "more_stores",
    "settings",
    "final",
    "ensemble",
    "metrics",
    "optimism",
    "calibrate",
    "score_without",
    "shuffle",
    "out",
    "runs",
    "jobs",
    "scheduler",
)
"""Options that the proposed `fit` command adds in another form, or does not need."""
_HEADER_LINES_OF_ONE_FIT = ("model ", "settings ", "selection ")
"""Lines of a fit's header that describe its own settings or its test score, which differ or do not apply here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """A finished search."""

    out: Path
    """The search folder."""
    best: dict[str, Value]
    """The best settings."""
    value: float
    """Their mean validation score."""
    excluded: tuple[str, ...] = ()
    """Utterances that were excluded from every trial."""


def search(config: FitConfig, path: Path, trials: int, say: Say = say) -> SearchResult:
    """Search the space in the file `path`, with a total of `trials` trials; an interrupted search is resumed.

    Raises:
        UsageError: Something is wrong with the options, the space, the store's contents or an existing folder.
        DataError: A store is damaged.
    """
    try:
        import optuna
    except ModuleNotFoundError:
        raise UsageError("--search needs optuna: pip install 'emofuse[search]'") from None
    without_effect = {
        "--final": config.final,
        "--ensemble": config.ensemble,
        "--metrics": config.metrics,
        "--optimism": config.optimism,
        "--calibrate": config.calibrate != "none",
        "--score-without": config.score_without,
        "--shuffle": config.shuffle,
    }
    problems = [f"{option} has no effect: test is never scored" for option, value in without_effect.items() if value]
    if config.track:
        problems.append("--track has no effect: trials are no runs; track the run of the best settings")
    raise_problems(problems, "--search")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with resolved(config) as plan:
        if any(not f.validation for f in plan.folds):
            raise UsageError("--search scores trials on validation, and --select last has none: leave that out")
        space = read_space(path, plan.settings, tuple(plan.features), plan.ablation, _given_settings(config))
        identity = plan.identity() | {"seeds": config.seeds, "space": space.record()}
        name = f"{plan.protocol.name}-{plan.model}-search"
        out = config.out or run_folder.run_path(config.runs, name, identity)
        with run_folder.run_lock(out):
            _claim_folder(out, plan, identity)
            study = _open_study(out, plan.protocol.metrics[0])
            total = trials if space.size is None else min(trials, space.size)
            for line in _header(plan, space, total):
                say(line)
            _run_trials(study, space, plan, out, total, say)
            return _report_results(study, plan, out, say)


def _given_settings(config: FitConfig) -> set[str]:
    """The names of the settings that the call fixes."""
    given = {pair.partition("=")[0].strip() for pair in config.settings}
    return given | {name for name in ("steps", "epochs") if getattr(config, name) is not None}


def _claim_folder(out: Path, plan: FitPlan, identity: dict[str, Any]) -> None:
    """Write config.json; refuse a folder that holds something else."""
    config = out / "config.json"
    calls = []
    if out.exists():
        if not config.exists() or "space" not in run_folder.recorded(out, "run", dict):
            raise UsageError(f"{out} already exists and is not a search: give another --out, or delete it")
        run_folder.refuse_other_settings(out, identity)
        calls = run_folder.recorded(out, "calls", list)
    out.mkdir(parents=True, exist_ok=True)
    run_folder.write_json(config, {**plan.record(identity), "calls": [*calls, plan.call()]})


def _open_study(out: Path, metric: str) -> Study:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    direction: Literal["maximize", "minimize"] = "maximize" if goodness(metric, 1.0) > 0 else "minimize"
    storage = JournalStorage(JournalFileBackend(str(out / JOURNAL)))
    return optuna.create_study(storage=storage, study_name=_STUDY_NAME, direction=direction, load_if_exists=True)


def _header(plan: FitPlan, space: Space, total: int) -> list[str]:
    metric = plan.protocol.metrics[0]
    return [
        f"{plan.title} on {plan.protocol.name}: {total} trials of {', '.join(space.settings)}",
        f"scored by the mean over folds of {metric} on {plan.protocol.validated_on}; test is never scored",
        *(line for line in fit_context(plan, Loader(plan)).header if not line.startswith(_HEADER_LINES_OF_ONE_FIT)),
    ]


def _run_trials(study: Study, space: Space, plan: FitPlan, out: Path, total: int, say: Say) -> None:
    """Run trials until there are `total`, an interrupted one first."""
    from optuna.trial import TrialState

    while (trial := _next_trial(study, space, plan.config.seed, total, say)) is not None:
        settings = space.suggest(trial)
        title = f"trial {trial.number + 1}/{total}"
        described = f"{title}: {', '.join(setting_pairs(settings))}"
        try:
            space.check(settings, plan)
            value, deviation = _score_trial(plan.config, settings, out / "trials" / f"{trial.number:04d}", title, say)
        except (DivergedError, UnfitError) as error:
            trial.set_user_attr("failed", str(error))
            study.tell(trial, state=TrialState.FAIL)
            say(f"{described}: {error}")
            continue
        trial.set_user_attr("std", deviation)
        study.tell(trial, value)
        say(f"{described}: {value:.4f} ± {deviation:.4f}")


def _next_trial(study: Study, space: Space, seed: int, total: int, say: Say) -> Trial | None:
    """The trial in which an earlier call was interrupted, or a new one; None when there are `total`."""
    from optuna.trial import Trial, TrialState

    trials = study.get_trials(deepcopy=False)
    interrupted = [t for t in trials if t.state == TrialState.RUNNING]
    queued = any(t.state == TrialState.WAITING for t in trials)  # interrupted just before the trial started
    if not interrupted and not queued and len(trials) >= total:
        return None
    study.sampler = space.sampler_for(seed, interrupted[0].number if interrupted else len(trials))
    if interrupted:
        say(f"resuming trial {interrupted[0].number + 1}, in which an earlier call was interrupted")
        return Trial(study, interrupted[0]._trial_id)
    if space.sampler == "grid" and not queued:
        study.enqueue_trial(space.combination(len(trials)))
    return study.ask()


def _score_trial(
    config: FitConfig, settings: dict[str, Value], folder: Path, title: str, say: Say
) -> tuple[float, float]:
    """Mean and standard deviation, over folds and seeds, of the validation score with `settings`."""
    with resolved(replace(config, settings=(*config.settings, *setting_pairs(settings)))) as plan:
        seeds = range(config.seed, config.seed + config.seeds)
        units = [
            TrainingUnit(
                seed=seed, fold=f.number, folder=folder / f"seed_{seed}" / f"fold_{f.number}", call=1, scored=False
            )
            for seed in seeds
            for f in plan.folds
        ]
        steps = sum(plan.training_steps(f.train) for f in plan.folds) * len(seeds)
        pending = [unit for unit in units if not unit.done]
        context = fit_context(plan, Loader(plan, say=say))
        with Progress(steps, title, "steps", steps * (len(units) - len(pending)) // len(units)) as progress:

            def advance(unit: TrainingUnit, amount: int, note: str) -> None:
                name = f"fold {unit.fold}" if len(seeds) == 1 else f"fold {unit.fold} of seed {unit.seed}"
                progress.advance(amount, ", ".join(filter(None, [name, note])))

            train_units([(context, unit) for unit in pending], [workload(plan)], advance)
        metric = plan.protocol.metrics[0]
        scores = [_validation_score(unit.folder, metric) for unit in units]
    return mean(scores), pstdev(scores)


def _validation_score(folder: Path, metric: str) -> float:
    validation = score_test.read_selection(folder)["validation"] or {}
    if metric not in validation:
        raise DataError(f"{folder / score_test.SELECTION} has no {metric} on validation; {score_test.REMEDY}")
    return float(validation[metric])


def _report_results(study: Study, plan: FitPlan, out: Path, say: Say) -> SearchResult:
    """Write trials.csv and best.json; print the best trials and the command that tests the best settings."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    completed = [t for t in trials if t.state == TrialState.COMPLETE and t.value is not None]
    if not completed:
        raise UsageError("every trial failed; the reasons are above")
    metric = plan.protocol.metrics[0]
    completed.sort(key=lambda t: (-goodness(metric, t.value or 0.0), t.number))
    failed = [t for t in trials if t.state == TrialState.FAIL]
    rows = [_trial_row(t, metric) for t in completed]
    run_folder.write_csv(out / "trials.csv", [*rows, *(_trial_row(t, metric) for t in failed)])
    best: dict[str, Value] = completed[0].params
    value = float(completed[0].value or 0.0)
    run_folder.write_json(
        out / "best.json", {"settings": best, "validation": {metric: value}, "trial": completed[0].number + 1}
    )
    header = [*rows[0]]
    say("\n" + format_table(header, [[str(row[k]) for k in header] for row in rows[:TRIALS_SHOWN]]))
    if len(plan.folds) > 1:
        say("every group validates one fold: to keep the test data out of the search, search with --folds 1")
    say(f"test these settings: {_fit_command(plan.config, best)}")
    say(f"search: {out}")
    return SearchResult(out=out, best=best, value=value, excluded=tuple(plan.task.excluded))


def _trial_row(trial: FrozenTrial, metric: str) -> dict[str, Any]:
    """The row of a completed or failed trial in trials.csv."""
    numbered: dict[str, Any] = {"trial": trial.number + 1}
    if trial.value is None:
        return {**numbered, metric: "", "std": "", **trial.params, "failed": trial.user_attrs.get("failed", "")}
    return {**numbered, metric: f"{trial.value:.6f}", "std": f"{trial.user_attrs['std']:.6f}", **trial.params}


def _fit_command(config: FitConfig, best: dict[str, Value]) -> str:
    """The `fit` command that tests the best settings, with every option of this call that affects the numbers."""
    arguments: list[str] = ["fit"]
    stores: Sequence[Any] = (config.store, *config.more_stores)
    arguments += [argument for store in stores for argument in ("--store", str(store))]
    for field in fields(FitConfig):
        value = getattr(config, field.name)
        if field.name not in _NOT_IN_FIT_COMMAND and value != field.default:
            name = field.name.replace("_", "-")
            if isinstance(value, bool):
                arguments.append(f"--{name}" if value else f"--no-{name}")
            else:
                several = value if field.name in ("audio", "text") and isinstance(value, tuple) else (value,)
                arguments += [argument for item in several for argument in (f"--{name}", str(item))]
    arguments += [a for pair in (*config.settings, *setting_pairs(best)) for a in ("--set", pair)]
    return shlex.join(arguments)
