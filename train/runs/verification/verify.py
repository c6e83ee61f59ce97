"""`emofuse verify`: everything that a run folder records is checked against what else it records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emofuse.common.disk import digests
from emofuse.common.disk.run_folder import read_csv, read_json
from emofuse.common.errors import DataError
from emofuse.common.output.console import plural
from emofuse.train.fitting import model_file
from emofuse.train.fitting.fold_check import fold_problems
from emofuse.train.fitting.model_file import ModelRecipe
from emofuse.train.fitting.scoring.recorded_target import target_of
from emofuse.train.fitting.scoring.score_test import PREDICTIONS, RESULT, SELECTION, WEIGHTS
from emofuse.train.runs.finished_run import CONFIG, METRICS, UTTERANCES, refuse_other_folders
from emofuse.train.runs.run_check import FILES, run_problems
from emofuse.train.runs.verification.detail_check import detail_problems


@dataclass(frozen=True, slots=True, kw_only=True)
class RunVerification:
    """What `verify_run` found."""

    folder: Path
    checked: tuple[str, ...]
    """What was checked, one line each."""
    problems: tuple[str, ...]
    """Everything that was altered, is missing or was added; empty if the run is as `fit` left it."""


def verify_run(folder: Path | str) -> RunVerification:
    """Check a finished run completely: files, scores, folds and weights.

    Every file is compared with its digest. Scores, groups and calibration are recomputed from the predictions; the
    rest of metrics.json, such as intervals and scores without a modality, has its digest alone. The weights of each
    fold are loaded and compared with their digest and with the settings of the run. A run of version 0.1.0 has no
    digests.

    Args:
        folder: The run folder.

    Raises:
        UsageError: It is not a finished run.

    Example:
        >>> from emofuse.train import verify_run
        >>> verify_run("missing")
        Traceback (most recent call last):
        ...
        emofuse.common.errors.UsageError: missing is not a finished run, it does not exist: pass the folder ...
    """
    folder = Path(folder)
    refuse_other_folders(folder)
    missing = [f"{name} is missing" for name in FILES if not (folder / name).is_file()]
    problems = missing or run_problems(folder, all_files=True)
    checked: list[str] = []
    try:
        config, metrics = read_json(folder / CONFIG), read_json(folder / METRICS)
        checked += [_digests_line(folder), f"scores of {len(read_csv(folder / PREDICTIONS))} predictions recomputed"]
        if not problems:  # else the keys that are read here may be missing
            problems, lines = _contents(folder, config, metrics)
            checked += lines
        else:
            problems += _weights_digest_problems(folder, metrics)
    except DataError as error:
        problems.append(str(error))
    return RunVerification(folder=folder, checked=tuple(checked), problems=tuple(dict.fromkeys(problems)))


def _digests_line(folder: Path) -> str:
    recorded = digests.read_digests(folder)
    if recorded is None:
        return "no digests to compare, as in runs of version 0.1.0"
    return f"{plural(len(recorded), 'file')} compared with {digests.ALGORITHM} digests"


def _contents(folder: Path, config: Mapping[str, Any], metrics: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Problems of utterances, folds and weights of a run without other problems; and what was checked."""
    problems, seeds = _utterance_problems(folder), metrics.get("seeds")
    problems = problems or detail_problems(folder, metrics)
    seed_folders = [folder] if seeds is None else [folder / f"seed_{seed}" for seed in seeds]
    fold_folders = [path for f in seed_folders for path in sorted(f.glob("fold_*")) if path.is_dir()]
    loaded = 0
    for path in fold_folders:
        name = path.relative_to(folder).as_posix()
        if (path / RESULT).exists() or (path / SELECTION).exists():
            problems += [f"{name}: {problem}" for problem in fold_problems(path, target_of(metrics))]
    for path in sorted(folder.rglob(WEIGHTS)):
        loaded += 1
        problems += _weights_problems(
            path, path.relative_to(folder).as_posix(), config["run"], list(target_of(metrics).output_names)
        )
    problems += _weights_digest_problems(folder, metrics)
    if not loaded:
        return problems, ["no weights of its own to load"]
    compared = f"{plural(len(fold_folders), 'fold')} compared with the scores"
    return problems, [compared, f"{plural(loaded, 'file')} of weights loaded"]


def _utterance_problems(folder: Path) -> list[str]:
    """An utterances.csv that is not of the tested utterances; version 0.1.0 wrote none."""
    if not (folder / UTTERANCES).exists():
        return []
    tested = {row["id"] for row in read_csv(folder / PREDICTIONS)}
    listed = [row["id"] for row in read_csv(folder / UTTERANCES, ("id",))]
    return [] if tested == set(listed) and len(tested) == len(listed) else [f"{UTTERANCES} is not of the tested ids"]


def _weights_digest_problems(folder: Path, metrics: Mapping[str, Any]) -> list[str]:
    weights = metrics.get("weights", {})
    if not isinstance(weights, dict):
        return []
    return digests.altered_files(folder, {k: v for k, v in weights.items() if ".." not in Path(k).parts})


def _weights_problems(path: Path, name: str, run: Mapping[str, Any], classes: list[str]) -> list[str]:
    """Weights that cannot be loaded, or are of a model with other settings than the run's."""
    try:
        _, recipe, statistics = model_file.load(path)
    except DataError as error:
        return [str(error)]
    problems = [f"{name}: {what}" for what in _recipe_problems(recipe, run, classes)]
    recorded = run.get("standardised", sorted(statistics))
    if not isinstance(recorded, list) or sorted(statistics) != sorted(map(str, recorded)):
        problems.append(f"{name} has statistics of {sorted(statistics)}, expected of {recorded}")
    return problems


def _recipe_problems(recipe: ModelRecipe, run: Mapping[str, Any], classes: list[str]) -> list[str]:
    """Where a model differs from the settings of the run."""
    problems = []
    if recipe.model != run.get("model", recipe.model):
        problems.append(f"it is of model {recipe.model}, expected {run['model']}")
    if list(recipe.classes) != classes:
        problems.append(f"its classes are {', '.join(recipe.classes)}, expected {', '.join(classes)}")
    settings = json.loads(json.dumps(asdict(recipe.settings)))
    recorded = run.get("settings")
    for key, value in recorded.items() if isinstance(recorded, dict) else ():
        if key in settings and settings[key] != value:
            problems.append(f"its setting {key} is {settings[key]}, expected {value}")
    return problems
