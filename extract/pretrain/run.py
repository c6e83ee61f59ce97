"""One call of `pretrain`: a folder of audio in, a run folder with one checkpoint out, which `--weights` takes."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import xxhash

from emofuse.common import folder, tensorfile
from emofuse.common.files import put
from emofuse.common.progress import Progress as Bar
from emofuse.extract.encoders._tuning import WEIGHTS
from emofuse.extract.encoders.trill import FORMAT
from emofuse.extract.heard import LISTING
from emofuse.extract.pretrain.audio import Patches, Recording
from emofuse.extract.pretrain.config import Settings
from emofuse.extract.pretrain.loop import fit
from emofuse.extract.pretrain.state import Keeper, Progress
from emofuse.manifests.schema import Excluded

Say = Callable[[str], None]
RUN = "emofuse-pretrain-1"
"""What the config.json of a run calls itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A call of `pretrain`, resolved."""

    audio: Path
    recordings: tuple[Recording, ...]
    excluded: tuple[Excluded, ...]
    settings: Settings
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
class Finished:
    """A finished run: where it lies, and its metrics.json."""

    out: Path
    metrics: dict[str, Any]


def pretrain(plan: Plan, out: Path | None, say: Say) -> Finished:
    """Fit the network, or what an earlier call left to do.

    Raises:
        UsageError: Something else lies at `out`, or the settings do not work on this device.
        DataError: A damaged state, or a recording that cannot be read any more.
    """
    run = plan.identity()
    out = out or folder.named(Path("runs"), f"pretrain-trill-{plan.audio.resolve().name}", run)
    metrics = folder.finished(out, run)
    if metrics is not None:
        say(f"already done: {out} holds this very run")
        return Finished(out=out, metrics=metrics)
    with folder.held(out):
        part = folder.claim(out, {"format": RUN, "run": run, "root": str(plan.audio)}, _call(plan))
        put(part / LISTING, plan.listing.encode())
        keeper = Keeper(part)
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
        folder.write_csv(part / "losses.csv", at.history)
        tensorfile.write(part / WEIGHTS, weights, plan.card())
        keeper.remove()
        metrics = _metrics(plan, at)
        folder.write_json(part / "metrics.json", metrics)
        folder.finish(part, out)
    return Finished(out=out, metrics=metrics)


def _call(plan: Plan) -> dict[str, Any]:
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": platform.node(),
        "device": plan.device,
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("emofuse", "torch")},
    }


def _metrics(plan: Plan, at: Progress) -> dict[str, Any]:
    return {
        "first": at.history[0],
        "last": at.history[-1],
        "files": len(plan.recordings),
        "hours": round(plan.hours, 4),
        "excluded": [{k: v for k, v in asdict(e).items() if v is not None} for e in plan.excluded],
        "wall_seconds": round(at.seconds, 1),
    }
