"""The life of a run folder: already finished, or claimed, filled by a training, and renamed when it is complete."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from emofuse.common.disk import run_folder
from emofuse.common.output.console import Say


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """A finished run."""

    out: Path
    """The run folder."""
    metrics: dict[str, Any]
    """Content of its metrics.json."""


def carry_out(
    out: Path,
    config: Mapping[str, Any],
    call: Mapping[str, Any],
    train: Callable[[Path], dict[str, Any]],
    say: Say,
) -> TrainingRun:
    """Train into a run folder, or continue an interrupted run; a finished run is left as it is.

    Args:
        out: The run folder.
        config: For config.json; its key `run` identifies the run.
        call: What may change from call to call, as `call_record` returns it.
        train: Fills the folder of the unfinished run, and returns the metrics.
        say: Reports a line to the user.

    Raises:
        UsageError: `out` is something else, or a run with other settings.
    """
    metrics = run_folder.finished_metrics(out, config["run"])
    if metrics is not None:
        say(f"already done: {out} holds this run")
        return TrainingRun(out=out, metrics=metrics)
    with run_folder.run_lock(out):
        unfinished = run_folder.claim_run(out, config, call)
        metrics = train(unfinished)
        run_folder.write_json(unfinished / "metrics.json", metrics)
        run_folder.finish_run(unfinished, out)
    return TrainingRun(out=out, metrics=metrics)


def call_record(device: str, packages: Sequence[str]) -> dict[str, Any]:
    """When and where this call runs, with the versions of `packages`, for config.json."""
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": platform.node(),
        "device": device,
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in packages},
    }
