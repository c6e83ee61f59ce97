"""The results of a fit: a finished run, or the reason why it diverged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emofuse.common.disk import run_folder
from emofuse.common.errors import UsageError, damage_error
from emofuse.common.lazy import lazy_property
from emofuse.common.output.rich_display import html_display
from emofuse.common.redaction import redacted
from emofuse.train.fitting import file_names
from emofuse.train.runs.reporting.caveats import caveats
from emofuse.train.runs.reporting.utterance_table import COLUMNS
from emofuse.train.runs.run_check import FILES, run_problems

if TYPE_CHECKING:
    from pandas import DataFrame

CONFIG, METRICS, PREDICTIONS, UTTERANCES = *FILES, file_names.UTTERANCES
REMEDY = "restore the run folder from a copy, or delete it and run the same fit again"
FINAL = "final"
"""The folder of the final model in a run folder."""
Records = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run: its folder, its scores, and what was excluded from it."""

    folder: Path
    metrics: dict[str, Any] = field(repr=False)
    """The content of metrics.json."""
    excluded: tuple[str, ...] = ()
    """Ids of the task's utterances without an up-to-date feature."""

    @classmethod
    def open(cls, folder: Path | str, rewritten: str = "") -> Run:
        """A run that was finished earlier, checked: all but the weights, which are checked when they are read.

        Args:
            folder: The run folder.
            rewritten: A file that the caller writes again, so that it may be missing or altered.

        Raises:
            UsageError: The folder is not a finished run.
            DataError: Files of it are missing or were altered, or its scores are not those of its predictions.
        """
        folder = Path(folder)
        refuse_other_folders(folder)
        problems = [f"{name} is missing" for name in FILES if not (folder / name).is_file()] or run_problems(
            folder, rewritten=rewritten
        )
        if problems:
            raise damage_error(f"{folder} was altered or damaged", problems, REMEDY)
        excluded = run_folder.read_json(folder / CONFIG).get("excluded", {})
        return cls(folder=folder, metrics=run_folder.read_json(folder / METRICS), excluded=tuple(excluded))

    @lazy_property
    def config(self) -> dict[str, Any]:
        """The content of config.json: the settings that identify the run, its stores, and each call."""
        return _without_credentials(run_folder.read_json(self.folder / CONFIG))

    @property
    def corpora(self) -> list[str]:
        """The corpora that the run was fitted or tested on."""
        return list(self.config.get("stores") or [self.config["run"]["corpus"]])

    @property
    def seed_folders(self) -> dict[int, Path]:
        """Seed -> the folder of its folds: the run's own, or with several seeds one below it."""
        seeds = self.metrics.get("seeds")
        if seeds is None:
            return {self.metrics["seed"]: self.folder}
        return {seed: self.folder / f"seed_{seed}" for seed in seeds}

    @lazy_property
    def utterances(self) -> Records:
        """utterances.csv: speaker, session, dialogue and split of each test utterance; empty where unknown.

        No records for a run of version 0.1.0, which did not write the file.
        """
        path = self.folder / UTTERANCES
        return run_folder.read_csv(path, ("id", *COLUMNS)) if path.is_file() else []

    @lazy_property
    def predictions(self) -> Records | DataFrame:
        """predictions.csv: one record per test utterance (and seed), with the probability `p_CLASS` of each class.

        A calibrated run also has `calibrated_p_CLASS`, the probability with the temperature of the fold.

        A pandas DataFrame if pandas is installed, else a list of dicts. Folds and seeds are int, probabilities float.
        """
        records = [_typed(row) for row in run_folder.read_csv(self.folder / PREDICTIONS)]
        try:
            from pandas import DataFrame
        except ImportError:
            return records
        return DataFrame(records)

    def _repr_html_(self) -> str:
        """What a notebook shows: the task, the caveats, and each score as mean and deviation."""
        metrics, names = self.metrics, self.metrics["metrics"]
        deviation = metrics.get("std") or {}
        rows = [(n, f"{metrics['mean'][n]:.3f}", f"{deviation[n]:.3f}" if n in deviation else "") for n in names]
        over = "seeds" if "seeds" in metrics else "folds"
        heading = f"{metrics['model']} on {metrics['protocol']}: {self.folder}"
        return html_display(heading, caveats(metrics), ("score", f"mean over {over}", "deviation"), rows)


def finished_run(folder: Path, identity: Mapping[str, Any]) -> Run | None:
    """The finished run of these settings; None if the folder does not exist.

    Args:
        folder: The run folder.
        identity: The settings, as under the key `run` of config.json.

    Raises:
        UsageError: The folder is something else; names the settings in which another run differs.
        DataError: As `Run.open`.
    """
    run = Run.open(folder) if (folder / PREDICTIONS).is_file() else None
    if run_folder.finished_metrics(folder, identity) is None:
        return None
    return run or Run.open(folder)


def refuse_other_folders(folder: Path) -> None:
    """Refuse what is not a finished run: another file or folder, or an unfinished run.

    Raises:
        UsageError: Says what it is, and what to pass.
    """
    other, resume = "pass the folder that `fit` printed", "run the same fit again to finish it"
    unfinished = folder.with_name(f"{folder.name}.part") if folder.name else folder
    if folder.name.endswith(".part"):
        reason, remedy = "it is an unfinished one", resume
    elif not folder.exists() and unfinished.is_dir():
        reason, remedy = f"{unfinished} is an unfinished one", resume
    elif not folder.exists():
        reason, remedy = "it does not exist", other
    elif not folder.is_dir():
        reason, remedy = "it is a file", other
    elif not any((folder / name).is_file() for name in FILES[1:]):
        reason, remedy = f"it has no {' and no '.join(FILES[1:])}", other
    else:
        return
    raise UsageError(f"{folder} is not a finished run, {reason}: {remedy}")


def _typed(row: dict[str, str]) -> dict[str, Any]:
    kinds = {
        name: int if name in ("fold", "seed") else float if name.startswith(("p_", "calibrated_p_")) else str
        for name in row
    }
    return {name: kinds[name](value) for name, value in row.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diverged:
    """A fit without a result, as one of its trainings diverged."""

    reason: str


FitOutcome = Run | Diverged


def _without_credentials(config: dict[str, Any]) -> dict[str, Any]:
    """The config without the passwords and signatures in URLs, which early runs recorded as they were given."""
    open_places: list[Any] = [config[key] for key in ("stores", "calls") if isinstance(config.get(key), dict | list)]
    if isinstance(config.get("store"), str):
        config["store"] = redacted(config["store"], {})
    while open_places:  # no recursion: files may nest as deep as JSON allows
        place = open_places.pop()
        for key, value in [*(place.items() if isinstance(place, dict) else enumerate(place))]:
            if isinstance(value, str):
                place[key] = redacted(value, {})
            elif isinstance(value, dict | list):
                open_places.append(value)
    return config
