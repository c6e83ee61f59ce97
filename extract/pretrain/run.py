"""A run of `pretrain`: a folder of audio in, a run folder with one checkpoint out, which `--weights` accepts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import xxhash

from emofuse.common.disk import run_folder, tensor_file
from emofuse.common.disk.files import write_atomically
from emofuse.common.output.console import Say
from emofuse.common.output.progress import Progress
from emofuse.extract.encoder_training.run import TrainingRun, call_record, carry_out
from emofuse.extract.encoders.blocks.tuning import WEIGHTS
from emofuse.extract.encoders.trill import FORMAT
from emofuse.extract.plan.pretraining_overlap import LISTING
from emofuse.extract.pretrain.checkpoint import PretrainProgress, open_checkpoint
from emofuse.extract.pretrain.config import PretrainSettings
from emofuse.extract.pretrain.loop import fit
from emofuse.extract.pretrain.recordings import Patches, Recording
from emofuse.manifests.schema import Excluded

RUN = "emofuse-pretrain-1"
"""The `format` in the config.json of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainPlan:
    """A call of `pretrain`, resolved and checked."""

    audio: Path
    """The folder of audio."""
    recordings: tuple[Recording, ...]
    excluded: tuple[Excluded, ...]
    settings: PretrainSettings
    device: str = "cpu"
    quiet: bool = False

    @property
    def hours(self) -> float:
        """Total length of the recordings in hours."""
        return sum(r.clip.seconds for r in self.recordings) / 3600

    @property
    def listing(self) -> str:
        """One line per recording: its name, a tab and the digest that a store has for the same clip."""
        return "".join(f"{r.name}\t{r.clip.digest}\n" for r in self.recordings)

    def identity(self) -> dict[str, Any]:
        """Everything that determines the weights, JSON-ready."""
        return {
            "encoder": "trill",
            "settings": self.settings.identity(),
            "files": len(self.recordings),
            "audio": xxhash.xxh3_128_hexdigest(self.listing.encode()),
        }

    def card(self) -> dict[str, Any]:
        """The card of the checkpoint, in the metadata of its file."""
        name = self.audio.resolve().name
        return {
            "format": FORMAT,
            "encoder": "trill",
            "dimension": self.settings.dimension,
            "pretrained_on": f"{len(self.recordings)} files, {self.hours:.2f} hours of audio in {name}, without labels",
            "fitted_on": [],
            "run": self.identity(),
        }


def pretrain(plan: PretrainPlan, out: Path | None, say: Say) -> TrainingRun:
    """Fit the network, or resume an interrupted run.

    Args:
        plan: What is trained on what.
        out: The run folder; None derives its name from the settings.
        say: Reports a line to the user.

    Raises:
        UsageError: `out` is something else, or the settings do not work on this device.
        DataError: The training checkpoint is damaged, or a recording can no longer be read.
    """
    run = plan.identity()
    out = out or run_folder.run_path(Path("runs"), f"pretrain-trill-{plan.audio.resolve().name}", run)
    config = {"format": RUN, "run": run, "root": str(plan.audio)}
    call = call_record(plan.device, ("emofuse", "torch"))
    return carry_out(out, config, call, lambda folder: _fit(plan, folder, say), say)


def _fit(plan: PretrainPlan, folder: Path, say: Say) -> dict[str, Any]:
    """Fit the network in the folder of an unfinished run; returns the run's metrics."""
    write_atomically(folder / LISTING, plan.listing.encode())
    checkpoint = open_checkpoint(folder)
    done = checkpoint.progress.step
    if done:
        say(f"resuming from step {done}")
    with Progress(plan.settings.steps, "pretrain trill", "steps", done, quiet=plan.quiet) as bar:
        weights, progress = fit(
            Patches(plan.audio, list(plan.recordings), plan.settings),
            plan.settings,
            checkpoint=checkpoint,
            device=plan.device,
            on_step=lambda step, note: bar.advance(1, note),
        )
    run_folder.write_csv(folder / "losses.csv", progress.history)
    tensor_file.write(folder / WEIGHTS, weights, plan.card())
    checkpoint.remove()
    return _metrics(plan, progress)


def _metrics(plan: PretrainPlan, progress: PretrainProgress) -> dict[str, Any]:
    return {
        "first": progress.history[0],
        "last": progress.history[-1],
        "files": len(plan.recordings),
        "hours": round(plan.hours, 4),
        "excluded": [{k: v for k, v in asdict(e).items() if v is not None} for e in plan.excluded],
        "wall_seconds": round(progress.seconds, 1),
    }
