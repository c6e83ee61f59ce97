"""The results of a fit: a finished run, or the reason why it diverged."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emofuse.common.disk import run_folder
from emofuse.common.errors import UsageError
from emofuse.common.lazy import lazy_property

if TYPE_CHECKING:
    from pandas import DataFrame

METRICS, PREDICTIONS, CONFIG = "metrics.json", "predictions.csv", "config.json"
UTTERANCES = "utterances.csv"
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
    def open(cls, folder: Path | str) -> Run:
        """A run that was finished earlier.

        Raises:
            UsageError: The folder is not a finished run.
            DataError: A file in it is damaged.
        """
        folder = Path(folder)
        missing = [name for name in (CONFIG, METRICS, PREDICTIONS) if not (folder / name).is_file()]
        if missing:
            raise UsageError(
                f"{folder} is not a finished run, it has no {' and no '.join(missing)}: "
                "pass the folder that `fit` printed, or run the same fit again to finish it"
            )
        excluded = run_folder.read_json(folder / CONFIG).get("excluded", {})
        return cls(folder=folder, metrics=run_folder.read_json(folder / METRICS), excluded=tuple(excluded))

    @lazy_property
    def config(self) -> dict[str, Any]:
        """The content of config.json: the settings that identify the run, its stores, and each call."""
        config: dict[str, Any] = run_folder.read_json(self.folder / CONFIG)
        return config

    @property
    def seed_folders(self) -> dict[int, Path]:
        """Seed -> the folder of its folds: the run's own, or with several seeds one below it."""
        seeds = self.metrics.get("seeds")
        if seeds is None:
            return {self.metrics["seed"]: self.folder}
        return {seed: self.folder / f"seed_{seed}" for seed in seeds}

    @lazy_property
    def utterances(self) -> Records:
        """utterances.csv: speaker, session, dialogue and split of each test utterance; empty where unknown."""
        return run_folder.read_csv(self.folder / UTTERANCES)

    @lazy_property
    def predictions(self) -> Records | DataFrame:
        """predictions.csv: one record per test utterance (and seed), with the probability `p_CLASS` of each class.

        A pandas DataFrame if pandas is installed, else a list of dicts. Folds and seeds are int, probabilities float.
        """
        records = [_typed(row) for row in run_folder.read_csv(self.folder / PREDICTIONS)]
        try:
            from pandas import DataFrame
        except ImportError:
            return records
        return DataFrame(records)


def _typed(row: dict[str, str]) -> dict[str, Any]:
    kinds = {name: int if name in ("fold", "seed") else float if name.startswith("p_") else str for name in row}
    return {name: kinds[name](value) for name, value in row.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diverged:
    """A fit without a result, as one of its trainings diverged."""

    reason: str


FitOutcome = Run | Diverged
