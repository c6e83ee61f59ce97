"""Reads runs for a leaderboard: quickly, so digests and predictions are not checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xxhash

from emofuse.common.disk.run_folder import read_csv, read_json
from emofuse.common.errors import DataError
from emofuse.common.shapes import misfits
from emofuse.train.fitting.file_names import CONFIG, METRICS, PAGE, PREDICTIONS, UTTERANCES
from emofuse.train.leaderboard.record_shape import FOLDS_SHAPE, record_problems
from emofuse.train.leaderboard.run_entry import RunEntry
from emofuse.train.runs.reporting.parameter_count import parameter_count


class RunReader:
    """Reads runs; what many of them share is read once."""

    def __init__(self) -> None:
        self._test_sets: dict[str, tuple[str, int]] = {}

    def read(self, folder: Path) -> RunEntry:
        """A run.

        Raises:
            DataError: Says what of it cannot be read.
        """
        config, metrics = read_json(folder / CONFIG), read_json(folder / METRICS)
        problems = record_problems(config, metrics)
        if problems:
            raise DataError("; ".join(problems[:3]) + ("; ..." if len(problems) > 3 else ""))
        test_set, tested = self._test_set(folder)
        return RunEntry(
            folder=folder,
            metrics=metrics,
            identity=config["run"],
            test_set=test_set,
            tested=tested,
            folds=_folds(folder, metrics),
            parameters=parameter_count(folder, metrics),
            started=next((str(call.get("started", "")) for call in reversed(config.get("calls", []))), ""),
            has_page=(folder / PAGE).is_file(),
        )

    def _test_set(self, folder: Path) -> tuple[str, int]:
        """The digest and the number of the test utterances; equal files are read once."""
        path = folder / (UTTERANCES if (folder / UTTERANCES).is_file() else PREDICTIONS)
        try:
            content = xxhash.xxh3_128_hexdigest(path.read_bytes())
        except OSError as error:
            raise DataError(f"{path.name} cannot be read: {error.strerror}") from None
        if content not in self._test_sets:
            ids = sorted({row["id"] for row in read_csv(path, ("id",))})
            self._test_sets[content] = xxhash.xxh3_128_hexdigest("\n".join(ids).encode()), len(ids)
        return self._test_sets[content]


def _folds(folder: Path, metrics: Mapping[str, Any]) -> dict[int, dict[str, float | None]]:
    if "folds" in metrics:
        runs = [metrics]
    else:
        try:
            runs = [read_json(folder / f"seed_{seed}" / METRICS) for seed in metrics["seeds"]]
        except DataError:
            return {}
        if any(misfits(run, FOLDS_SHAPE, METRICS) for run in runs):
            return {}
    of_seeds = [{fold["fold"]: fold["test"] for fold in run["folds"]} for run in runs]
    common = [n for n in of_seeds[0] if all(n in of for of in of_seeds)]
    return {n: {name: _mean([of[n].get(name) for of in of_seeds]) for name in of_seeds[0][n]} for n in common}


def _mean(values: Sequence[float | None]) -> float | None:
    """None where a seed has no value."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None
