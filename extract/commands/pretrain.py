"""`emofuse pretrain`: pre-train an encoder on a folder of audio, without labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import UnknownNameError, command
from emofuse.common.output.console import HELP_OPTIONS, say
from emofuse.common.output.verbosity import stage
from emofuse.extract.audio.exclusions import report_excluded
from emofuse.extract.encoders.networks.trill_network import DIMENSIONS
from emofuse.extract.plan.device import device_of
from emofuse.extract.pretrain.config import PretrainSettings

if TYPE_CHECKING:
    from emofuse.extract.pretrain.run import PretrainPlan

_DEFAULTS = PretrainSettings()


def _setting(name: str, kind: Any, text: str) -> Callable[[Any], Any]:
    """An option for a field of `PretrainSettings`."""
    return click.option(f"--{name.replace('_', '-')}", type=kind, default=getattr(_DEFAULTS, name), help=text)


@click.command(context_settings={**HELP_OPTIONS, "show_default": True})
@click.argument("encoder")
@click.option("--audio", required=True, type=click.Path(path_type=Path), help="A folder of audio; subfolders included.")
@_setting("dimension", int, f"Dimension of the last layer: {' or '.join(map(str, DIMENSIONS))}.")
@_setting("steps", int, "Number of steps.")
@_setting("batch", int, "Pieces of recordings per step.")
@_setting("patches", int, "Patches of 0.96 s per piece.")
@_setting("tau", float, "Maximum seconds between the two patches of a positive pair.")
@_setting("delta", float, "Margin of the triplet loss, in squared distances from 0 to 4.")
@_setting("lr", float, "Peak learning rate.")
@_setting("weight_decay", float, "Weight decay of AdamW.")
@_setting("seed", int, "Same seed, same machine: same weights.")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:0.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="The run folder.  [default: runs/pretrain-trill-FOLDER-DIGEST]"
)
@verbosity_options
@command
def pretrain(encoder: str, audio: Path, out: Path | None, device: str, **options: Any) -> None:
    """Pre-train an encoder (trill) on a folder of audio, without labels.

    Patches of one recording that are close in time become close in the embedding, and patches of different recordings
    become distant. `extract --encoder trill --weights OUT` then reads the run folder.

    Example: emofuse pretrain trill --audio corpora/emodb/wav

    Exit codes: 0 done; 1 done, some files excluded (listed); 2 wrong use; 3 damaged data or a full disk; 130
    interrupted.
    """
    if encoder != "trill":
        raise UnknownNameError("encoder that can be pre-trained", encoder, ["trill"])
    settings = PretrainSettings(**options)
    with stage("loading libraries"):
        from emofuse.extract.pretrain.recordings import find_recordings
        from emofuse.extract.pretrain.run import PretrainPlan
        from emofuse.extract.pretrain.run import pretrain as run

    device = device_of(device)
    recordings, excluded = find_recordings(audio)
    plan = PretrainPlan(
        audio=audio,
        recordings=tuple(recordings),
        excluded=tuple(excluded),
        settings=settings,
        device=device,
    )
    say(_header(plan))
    finished = run(plan, out, say)
    first, last = finished.metrics["first"], finished.metrics["last"]
    say(
        f"loss {first['loss']:.3f} by step {first['step']}, {last['loss']:.3f} by step {last['step']} "
        f"({100 * last['active']:.0f} % of triplets active); the history is in {finished.out / 'losses.csv'}"
    )
    say(f"next: extract --dataset NAME --encoder trill --weights {finished.out}")
    click.get_current_context().exit(report_excluded(excluded, "file", "the run's metrics.json lists them"))


def _header(plan: PretrainPlan) -> str:
    settings = plan.settings
    batch = f"{settings.batch} x {settings.patches} patches, {settings.dimension}-dimensional"
    return (
        f"pretrain trill on {len(plan.recordings)} files, {plan.hours:.2f} h, without labels: {settings.steps} steps "
        f"of {batch}, margin {settings.delta:g}, {plan.device}, seed {settings.seed}"
    )
