"""From a run folder to what trackers write of it."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from emofuse.common.disk import digests
from emofuse.common.disk.run_folder import read_csv, read_json
from emofuse.common.nested import flatten, plain_text
from emofuse.train.fitting.file_names import PAGE
from emofuse.train.fitting.scoring.score_test import HISTORY
from emofuse.train.runs.finished_run import CONFIG, METRICS, Run
from emofuse.train.runs.reporting.caveats import caveats
from emofuse.train.tracking.base import Curve, TrackedRun

_FILES = (PAGE, METRICS, CONFIG)
_LABELS = ("seed", "fold", "step")


def tracked_run(run: Run) -> TrackedRun:
    """What trackers write of a finished run.

    Raises:
        DataError: A file of the run is damaged.
    """
    history = run.folder / HISTORY
    return TrackedRun(
        name=run.folder.resolve().name,
        folder=run.folder,
        digest=digests.digest_of(run.folder / METRICS),
        protocol=run.metrics["protocol"],
        config=_config(run),
        caveats=caveats(run.metrics),
        scores={name: value for name, value in _scores(run) if value is not None and math.isfinite(value)},
        curves=_curves(read_csv(history)) if history.is_file() else (),
        files=[run.folder / name for name in _FILES if (run.folder / name).is_file()],
    )


def _config(run: Run) -> dict[str, str | int | float | bool]:
    """The settings that identify the run, without what only digests and names of the protocol say."""
    settings = {key: value for key, value in run.config["run"].items() if key not in ("manifest", "protocol")}
    settings["features"] = {modality: feature["name"] for modality, feature in settings.get("features", {}).items()}
    settings |= {"protocol": run.metrics["protocol"], "title": run.metrics["model"], "folder": str(run.folder)}
    command = run.config["calls"][-1].get("command") if run.config.get("calls") else None
    if command:
        settings["command"] = shlex.join(command) if isinstance(command, list) else json.dumps(command)
    known = {key: value for key, value in flatten(settings).items() if value is not None and value != {}}
    return {key: v if isinstance(v, (str, bool, int, float)) else plain_text(v) for key, v in known.items()}


def _scores(run: Run) -> Iterator[tuple[str, float | None]]:
    """Over all predictions with intervals, mean and deviation, and of each fold and seed."""
    metrics, interval = run.metrics, run.metrics.get("interval", {})
    for name in metrics["pooled"]:
        yield f"pooled/{name}", metrics["pooled"][name]
        if name in interval:
            yield from (
                (f"pooled/{name}_{side}", bound) for side, bound in zip(("low", "high"), interval[name], strict=True)
            )
    for kind in ("mean", "std"):
        yield from ((f"{kind}/{name}", value) for name, value in metrics[kind].items())
    for seed, folder in run.seed_folders.items():
        for fold in read_json(folder / METRICS)["folds"] if "seeds" in metrics else metrics["folds"]:
            name = _training(seed if "seeds" in metrics else None, fold["fold"])
            yield from ((f"{name}/{metric}", value) for metric, value in fold["test"].items())
            yield f"{name}/selected_step", fold["step"]


def _training(seed: Any, fold: Any) -> str:
    return f"fold_{fold}" if seed is None else f"seed_{seed}/fold_{fold}"


def _curves(history: Sequence[Mapping[str, str]]) -> list[Curve]:
    points: dict[str, list[tuple[int, dict[str, float]]]] = {}
    for row in history:
        values = {name: float(cell) for name, cell in row.items() if cell and name not in _LABELS}
        points.setdefault(_training(row.get("seed"), row["fold"]), []).append((int(row["step"]), values))
    return [Curve(name=name, points=sorted(of_one, key=lambda point: point[0])) for name, of_one in points.items()]


def beside(folder: Path, name: str) -> Path:
    """A folder of a tracker: beside the run's, whose digests cover every file in it."""
    return folder.resolve().parent / name
