"""Hyper-parameters by search: each trial trains all folds and is judged on validation alone; no test is scored."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import mean, pstdev
from typing import TYPE_CHECKING, Any

from emofuse.common.console import Say, table
from emofuse.common.disk import run_folder
from emofuse.common.errors import UsageError, complain
from emofuse.common.progress import Progress
from emofuse.train.data.loader import Loader
from emofuse.train.fitting import evaluate
from emofuse.train.fitting.fold import TrainingUnit
from emofuse.train.fitting.loop import DivergedError
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.plan import FitPlan
from emofuse.train.runs import jobs
from emofuse.train.runs.run import prepared, resolved
from emofuse.train.search.space import Space, UnfitError, Value, pairs, read_space

if TYPE_CHECKING:
    from optuna import Study

JOURNAL = "trials.log"
SHOWN = 5
_ELSEWHERE = ("store", "more_stores", "settings", "optimism", "score_without", "out", "runs", "jobs", "scheduler")
"""Options that the command of the best settings has in another way, or does not need."""
_NAME = "search"

_OF_ONE = ("model ", "settings ", "selection ")
"""What the head of a fit says of its own settings, and of its test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A finished search: where it lies, and its best settings."""

    out: Path
    best: dict[str, Value]
    value: float
    excluded: tuple[str, ...] = ()
    """What was left out of every trial."""


def search(config: FitConfig, path: Path, trials: int, say: Say = print) -> Found:
    """Search the space in `path`, in `trials` trials in all; an interrupted search goes on.

    Raises:
        UsageError: Something about the options, the space, the store's contents or an existing folder.
        DataError: A store is damaged.
    """
    try:
        import optuna
    except ModuleNotFoundError:
        raise UsageError("--search needs optuna: pip install 'emofuse[search]'") from None
    idle = {"--optimism": config.optimism, "--score-without": config.score_without}
    complain([f"{option} has no effect: no test is scored" for option, given in idle.items() if given], "--search")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with resolved(config) as plan:
        if any(not f.validation for f in plan.folds):
            raise UsageError("--search judges trials on validation, which --select last does without: leave that out")
        given = {pair.partition("=")[0].strip() for pair in config.settings}
        given |= {name for name in ("steps", "epochs") if getattr(config, name) is not None}
        space = read_space(path, plan.settings, tuple(plan.features), plan.ablation, given)
        identity = plan.identity() | {"seeds": config.seeds, "space": space.record()}
        name = f"{plan.protocol.name}-{plan.model}-search"
        out = config.out or run_folder.named(config.runs, name, identity)
        with run_folder.held(out):
            _claim(out, plan, identity)
            study = _study(out)
            total = trials if space.size is None else min(trials, space.size)
            metric = plan.protocol.metrics[0]
            say(f"{plan.title} on {plan.protocol.name}: {total} trials of {', '.join(space.settings)}")
            say(f"judged by the mean over folds of {metric} on {plan.protocol.validated_on}; test is never scored")
            for line in prepared(plan, Loader(plan)).header:
                if not line.startswith(_OF_ONE):
                    say(line)
            _trials(study, space, plan, out, total, say)
            return _told(study, config, plan, out, say)


def _claim(out: Path, plan: FitPlan, identity: dict[str, Any]) -> None:
    config = out / "config.json"
    calls = []
    if out.exists():
        if not config.exists() or "space" not in run_folder.read_json(config)["run"]:
            raise UsageError(f"{out} exists already and is no search: give another --out, or delete it")
        run_folder.refuse_other(out, identity)
        calls = run_folder.read_json(config)["calls"]
    out.mkdir(parents=True, exist_ok=True)
    run_folder.write_json(config, {**plan.record(identity), "calls": [*calls, plan.call()]})


def _study(out: Path) -> Study:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(out / JOURNAL)))
    return optuna.create_study(storage=storage, study_name=_NAME, direction="maximize", load_if_exists=True)


def _trials(study: Study, space: Space, plan: FitPlan, out: Path, total: int, say: Say) -> None:
    from optuna.trial import Trial, TrialState

    config = plan.config
    while True:
        every = study.get_trials(deepcopy=False)
        begun = [t for t in every if t.state == TrialState.RUNNING]  # an earlier call was interrupted there
        waiting = any(t.state == TrialState.WAITING for t in every)  # or just before
        if not begun and not waiting and len(every) >= total:
            return
        study.sampler = space.sampler_for(config.seed, begun[0].number if begun else len(every))
        if space.sampler == "grid" and not begun and not waiting:
            study.enqueue_trial(space.combination(len(every)))
        trial = Trial(study, begun[0]._trial_id) if begun else study.ask()
        settings = space.asked(trial)
        if begun:
            say(f"going on with trial {trial.number + 1}, in which an earlier call was stopped")
        title = f"trial {trial.number + 1}/{total}"
        said = f"{title}: {', '.join(pairs(settings))}"
        try:
            space.check(settings, plan)
            value, spread = _judged(config, settings, out / "trials" / f"{trial.number:04d}", title, say)
        except (DivergedError, UnfitError) as error:
            trial.set_user_attr("failed", str(error))
            study.tell(trial, state=TrialState.FAIL)
            say(f"{said}: {error}")
            continue
        trial.set_user_attr("std", spread)
        study.tell(trial, value)
        say(f"{said}: {value:.4f} ± {spread:.4f}")


def _judged(config: FitConfig, settings: dict[str, Value], where: Path, title: str, say: Say) -> tuple[float, float]:
    """Mean and deviation over folds and seeds of the validation score, for settings beside those of the call."""
    with resolved(replace(config, settings=(*config.settings, *pairs(settings)))) as plan:
        seeds = range(config.seed, config.seed + config.seeds)
        units = [
            TrainingUnit(
                seed=seed, fold=f.number, folder=where / f"seed_{seed}" / f"fold_{f.number}", call=1, scored=False
            )
            for seed in seeds
            for f in plan.folds
        ]
        steps = sum(plan.settings.total_steps(len(f.train)) for f in plan.folds) * len(seeds)
        todo = [unit for unit in units if not unit.done]
        work = prepared(plan, Loader(plan, say=say))
        with Progress(steps, title, "steps", steps * (len(units) - len(todo)) // len(units)) as progress:
            tasks = [(work, unit) for unit in todo]

            def advance(unit: TrainingUnit, amount: int, note: str) -> None:
                which = f"fold {unit.fold}" if len(seeds) == 1 else f"fold {unit.fold} of seed {unit.seed}"
                progress.advance(amount, ", ".join(filter(None, [which, note])))

            jobs.run(tasks, [jobs.demand(plan)], advance)
        metric = plan.protocol.metrics[0]
        found = [run_folder.read_json(unit.folder / evaluate.SELECTION)["validation"][metric] for unit in units]
    return mean(found), pstdev(found)


def _told(study: Study, config: FitConfig, plan: FitPlan, out: Path, say: Say) -> Found:
    """Write trials.csv and best.json; say the best trials and the command that tests the first of them."""
    from optuna.trial import TrialState

    done = [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE and t.value is not None]
    if not done:
        raise UsageError("no trial came to a score; what went wrong with each stands above")
    done.sort(key=lambda t: (-(t.value or 0.0), t.number))
    metric = plan.protocol.metrics[0]
    rows = [
        {"trial": t.number + 1, metric: f"{t.value:.6f}", "std": f"{t.user_attrs['std']:.6f}", **t.params} for t in done
    ]
    failed = [
        {"trial": t.number + 1, metric: "", "std": "", **t.params, "failed": t.user_attrs.get("failed", "")}
        for t in study.get_trials(deepcopy=False)
        if t.state == TrialState.FAIL
    ]
    run_folder.write_csv(out / "trials.csv", [*rows, *failed])
    best: dict[str, Value] = done[0].params
    value = float(done[0].value or 0.0)
    run_folder.write_json(
        out / "best.json", {"settings": best, "validation": {metric: value}, "trial": done[0].number + 1}
    )
    header = [*rows[0]]
    say("\n" + table(header, [[str(row[k]) for k in header] for row in rows[:SHOWN]]))
    if len(plan.folds) > 1:
        say("every group validates one fold: for a search that has never seen what is tested, search with --folds 1")
    say(f"test these settings: {_command(config, best)}")
    say(f"search: {out}")
    return Found(out=out, best=best, value=value, excluded=tuple(plan.task.excluded))


def _command(config: FitConfig, best: dict[str, Value]) -> str:
    """The call of `fit` that tests the best settings: all that decides its numbers, as this call had it."""
    words: list[str] = ["fit"]
    stores: Sequence[Any] = (config.store, *config.more_stores)
    words += [w for store in stores for w in ("--store", str(store))]
    for field in fields(FitConfig):
        value = getattr(config, field.name)
        if field.name not in _ELSEWHERE and value != field.default:
            words += [f"--{field.name.replace('_', '-')}", str(value)]
    words += [w for pair in (*config.settings, *pairs(best)) for w in ("--set", pair)]
    return shlex.join(words)
