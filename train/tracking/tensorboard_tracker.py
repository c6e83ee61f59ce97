"""TensorBoard: a folder of event files for each run, beside the run folders."""

from __future__ import annotations

import json

from emofuse.train.tracking.base import TrackedRun, Tracker
from emofuse.train.tracking.tracked_run import beside


class TensorBoardTracker(Tracker):
    """Writes `tensorboard/RUN` beside the run folder: scores in it, and the curves of each fold below it."""

    name = "tensorboard"
    package = "tensorboard"

    def write(self, run: TrackedRun) -> str:
        """Event files; those of an earlier call are replaced."""
        from torch.utils.tensorboard import SummaryWriter

        folder = beside(run.folder, "tensorboard") / run.name
        for earlier in folder.rglob("events.out.tfevents.*"):
            earlier.unlink()
        for curve in run.curves:
            with SummaryWriter(str(folder / curve.name)) as writer:
                for step, values in curve.points:
                    for name, value in values.items():
                        writer.add_scalar(name, value, step)
        with SummaryWriter(str(folder)) as writer:
            writer.add_text("caveats", run.notes)
            writer.add_text("run", "    " + json.dumps(run.values(), indent=2).replace("\n", "\n    "))
            writer.add_text("files", "\n".join(f"- `{path.resolve()}`" for path in run.files))
            writer.add_hparams(dict(run.config), dict(run.scores), run_name=".", global_step=0)
        return f"{folder}; look at it with: tensorboard --logdir {folder.parent}"
