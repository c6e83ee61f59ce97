"""Weights & Biases: a run in a project, offline unless WANDB_MODE says otherwise."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from pathlib import Path

from emofuse.train.tracking.base import TrackedRun, Tracker
from emofuse.train.tracking.tracked_run import beside

COMPLETE = "emofuse-complete"
"""An empty file in the folder of a run that was written to its end; one that was stopped is written again."""


class WandbTracker(Tracker):
    """Writes below WANDB_DIR if it is set, else to `wandb` beside the run folder; `wandb sync` uploads it later."""

    name = "wandb"
    package = "wandb"

    def write(self, run: TrackedRun) -> str:
        """One run of Weights & Biases, unless there is one with the same scores."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        folder = Path(os.environ.get("WANDB_DIR") or beside(run.folder, ""))
        identity = run.digest[:16]
        if earlier := sorted(folder.glob(f"wandb/*-{identity}/{COMPLETE}")):
            return f"{earlier[0].parent}, where it was already"
        with wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "emofuse",
            group=run.protocol,
            name=run.name,
            id=identity,
            dir=str(folder),
            mode=os.environ.get("WANDB_MODE") or "offline",  # type: ignore[arg-type] # wandb checks it
            config=dict(run.config),
            notes=run.notes,
            settings=wandb.Settings(silent=True, console="off", disable_git=True, save_code=False),
        ) as written:
            values_at: dict[int, dict[str, float]] = defaultdict(dict)
            for curve in run.curves:
                for step, values in curve.points:
                    values_at[step] |= {f"{curve.name}/{name}": value for name, value in values.items()}
            for step in sorted(values_at):
                written.log(values_at[step], step=step)
            written.summary.update(dict(run.scores) | {"caveats": run.notes})
            for path in run.files:
                copy = shutil.copy(path, written.dir)
                written.save(copy, base_path=written.dir, policy="now")
            place = Path(written.dir).parent
        (place / COMPLETE).touch()
        return f"{place}; upload it with: wandb sync {place}"
