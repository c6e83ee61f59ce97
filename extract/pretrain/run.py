"""One call of `pretrain`: a folder of audio in, a run folder with one checkpoint out, which `--weights` takes."""

from __future__ import annotations

import platform
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import xxhash

from emofuse.common.console import Say
from emofuse.common.disk import run_folder, tensor_file
from emofuse.common.disk.files import put
from emofuse.common.progress import Progress as Bar
from emofuse.extract.encoders.blocks.tuning import WEIGHTS
from emofuse.extract.encoders.trill import FORMAT
from emofuse.extract.plan.pretraining_overlap import LISTING
from emofuse.extract.pretrain.audio import Patches, Recording
from emofuse.extract.pretrain.config import PretrainSettings
from emofuse.extract.pretrain.loop import fit
from emofuse.extract.pretrain.state import PretrainCheckpoint, PretrainState
from emofuse.manifests.schema import Excluded

RUN = "emofuse-pretrain-1"
"""What the config.json of a run calls itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainPlan:
    """A call of `pretrain`, resolved."""

    audio: Path
    recordings: tuple[Recording, ...]
    excluded: tuple[Excluded, ...]
    settings: PretrainSettings
    device: str = "cpu"
    quiet: bool = False

    @property
    def hours(self) -> float:
        """Of all recordings."""
        return sum(r.clip.seconds for r in self.recordings) / 3600

    @property
    def listing(self) -> str:
        """A line for each recording: its name, a tab and the digest that a store holds of the same clip."""
        return "".join(f"{r.name}\t{r.clip.digest}\n" for r in self.recordings)

    def identity(self) -> dict[str, Any]:
        """Everything that decides the weights, JSON-ready."""
        return {
            "encoder": "trill",
            "settings": self.settings.identity(),
            "files": len(self.recordings),
            "audio": xxhash.xxh3_128_hexdigest(self.listing.encode()),
        }

    def card(self) -> dict[str, Any]:
        """What the checkpoint says of itself."""
        name = self.audio.resolve().name
        return {
            "format": FORMAT,
            "encoder": "trill",
            "dimension": self.settings.dimension,
            "pretrained_on": f"{len(self.recordings)} files, {self.hours:.2f} hours of audio in {name}, without labels",
            "fitted_on": [],
            "run": self.identity(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainRun:
    """A finished run: where it lies, and its metrics.json."""

    out: Path
    metrics: dict[str, Any]


def pretrain(plan: PretrainPlan, out: Path | None, say: Say) -> PretrainRun:
    """Fit the network, or what an earlier call left to do.

    Raises:
        UsageError: Something else lies at `out`, or the settings do not work on this device.
        DataError: A damaged state, or a recording that cannot be read any more.
    """
    run = plan.identity()
    out = out or run_folder.named(Path("runs"), f"pretrain-trill-{plan.audio.resolve().name}", run)
    metrics = run_folder.finished(out, run)
    if metrics is not None:
        say(f"already done: {out} holds this very run")
        return PretrainRun(out=out, metrics=metrics)
    with run_folder.held(out):
        part = run_folder.claim(out, {"format": RUN, "run": run, "root": str(plan.audio)}, _call(plan))
        put(part / LISTING, plan.listing.encode())
        keeper = PretrainCheckpoint(part)
        if keeper.step:
            say(f"going on from step {keeper.step}")
        with Bar(plan.settings.steps, "pretrain trill", "steps", keeper.step, quiet=plan.quiet) as bar:
            weights, at = fit(
                Patches(plan.audio, list(plan.recordings), plan.settings),
                plan.settings,
                keeper=keeper,
                device=plan.device,
                on_step=lambda step, note: bar.advance(1, note),
            )
        run_folder.write_csv(part / "losses.csv", at.history)
        tensor_file.write(part / WEIGHTS, weights, plan.card())
        keeper.remove()
        metrics = _metrics(plan, at)
        run_folder.write_json(part / "metrics.json", metrics)
        run_folder.finish(part, out)
    return PretrainRun(out=out, metrics=metrics)


def _call(plan: PretrainPlan) -> dict[str, Any]:
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": platform.node(),
        "device": plan.device,
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("emofuse", "torch")},
    }


def _metrics(plan: PretrainPlan, at: PretrainState) -> dict[str, Any]:
    return {
        "first": at.history[0],
        "last": at.history[-1],
        "files": len(plan.recordings),
        "hours": round(plan.hours, 4),
        "excluded": [{k: v for k, v in asdict(e).items() if v is not None} for e in plan.excluded],
        "wall_seconds": round(at.seconds, 1),
    }
