"""`emofuse pretrain`: fit an encoder to a folder of audio, without labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emofuse.common.console import say
from emofuse.common.errors import UnknownNameError, command
from emofuse.extract.commands.options import report
from emofuse.extract.encoders.blocks.trill_network import DIMENSIONS
from emofuse.extract.plan.device import device_of
from emofuse.extract.pretrain.config import PretrainSettings

if TYPE_CHECKING:
    from emofuse.extract.pretrain.run import PretrainPlan

_USUAL = PretrainSettings()


def _choice(name: str, kind: Any, text: str) -> Callable[[Any], Any]:
    usual = getattr(_USUAL, name)
    return click.option(f"--{name.replace('_', '-')}", type=kind, default=usual, help=f"{text}  [{usual}]")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("encoder")
@click.option("--audio", required=True, type=click.Path(path_type=Path), help="Any folder of audio, and those in it.")
@_choice("dimension", int, f"Width of the last layer: {' or '.join(map(str, DIMENSIONS))}.")
@_choice("steps", int, "Steps of fitting.")
@_choice("batch", int, "Pieces of recordings in a step,")
@_choice("patches", int, "and patches of 0.96 s of each.")
@_choice("tau", float, "Seconds up to which two patches are near each other.")
@_choice("delta", float, "The margin of the triplet loss, in squared distances from 0 to 4.")
@_choice("lr", float, "The highest rate.")
@_choice("weight_decay", float, "AdamW's.")
@_choice("seed", int, "Same seed, same machine: same weights.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:0.")
@click.option("--out", type=click.Path(path_type=Path), help="The run folder.  [runs/pretrain-trill-FOLDER-DIGEST]")
@click.option("--quiet", is_flag=True, help="No progress.")
@command
def pretrain(encoder: str, audio: Path, out: Path | None, device: str, quiet: bool, **options: Any) -> None:
    """Fit an encoder (trill) to a folder of audio, without labels.

    Patches of one recording that lie near each other in time come to lie near each other in the embedding, patches of
    different recordings farther apart. `extract --encoder trill --weights OUT` then takes the run folder.

    Example: emofuse pretrain trill --audio corpora/emodb/wav

    Exit codes: 0 done; 1 done, some files excluded (listed); 2 wrong use; 3 damaged data or a full disk; 130
    interrupted.
    """
    if encoder != "trill":
        raise UnknownNameError("encoder that can be pre-trained", encoder, ["trill"])
    settings = PretrainSettings(**options)
    from emofuse.extract.pretrain.audio import survey
    from emofuse.extract.pretrain.run import PretrainPlan
    from emofuse.extract.pretrain.run import pretrain as run

    device = device_of(device)
    recordings, excluded = survey(audio, quiet)
    plan = PretrainPlan(
        audio=audio,
        recordings=tuple(recordings),
        excluded=tuple(excluded),
        settings=settings,
        device=device,
        quiet=quiet,
    )
    say(_header(plan))
    finished = run(plan, out, say)
    first, last = finished.metrics["first"], finished.metrics["last"]
    say(
        f"loss {first['loss']:.3f} by step {first['step']}, {last['loss']:.3f} by step {last['step']} "
        f"({100 * last['active']:.0f} % of triplets active); all of it in {finished.out / 'losses.csv'}"
    )
    say(f"next: extract --dataset NAME --encoder trill --weights {finished.out}")
    click.get_current_context().exit(report(excluded, "files", "metrics.json of the run lists them"))


def _header(plan: PretrainPlan) -> str:
    settings = plan.settings
    return (
        f"pretrain trill on {len(plan.recordings)} files, {plan.hours:.2f} h, without labels: {settings.steps} steps "
        f"of {settings.batch} x {settings.patches} patches, {settings.dimension} wide, margin {settings.delta:g}, "
        f"{plan.device}, seed {settings.seed}"
    )
