"""The command `extract`: options -> one `ExtractConfig` -> one library call -> an exit code."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import click

from emofuse.common.cli.config_file import ConfiguredCommand, config_option
from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.cli.version_option import version_option
from emofuse.common.errors import command
from emofuse.common.output.console import HELP_OPTIONS
from emofuse.common.output.verbosity import stage
from emofuse.extract.commands.options import DATASETS, complete_datasets, complete_encoders, corpus_options, max_seconds


def _finite(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a valid batch budget: expected seconds of audio, or tokens")
    return value


@click.command(cls=ConfiguredCommand, context_settings={**HELP_OPTIONS, "show_default": True})
@config_option
@click.option("--dataset", required=True, shell_complete=complete_datasets, help=DATASETS)
@click.option(
    "--encoder",
    "encoders",
    required=True,
    multiple=True,
    shell_complete=complete_encoders,
    help="An encoder; can be repeated.",
)
@corpus_options
@max_seconds
@click.option(
    "--channel",
    type=click.Choice(["mean", "left", "right", "loudest"]),
    default="mean",
    help="What to encode of several channels.",
)
@click.option("--store", type=click.Path(path_type=Path), help="The file to write.  [default: cache/CORPUS.h5]")
@click.option("--name", help="The feature's name in the store.  [default: the encoder's name]")
@click.option(
    "--weights",
    help="A folder, a file, ORG/NAME[@revision] on the hub, or a run of `emofuse finetune`.  [default: the encoder's]",
)
@click.option(
    "--fitted-on",
    metavar="WHAT",
    help="What the weights were fitted on with labels: none, CORPUS, or CORPUS:session=1,2 (also speaker, split).",
)
@click.option(
    "--layers",
    default="last",
    help="last, all, mean, numbers such as 6,9,12, or names of layers that the encoder defines.",
)
@click.option(
    "--window",
    help="What Whisper reads at a time: clip ends its window of 30 s with the clip, a faster feature of its own.",
)
@click.option(
    "--views",
    default="frames",
    help="What to store of an utterance, separated by commas: frames, mean (over frames, in every layer), last "
    "(frame), pooled (as a sentence encoder declares), statistics.",
)
@click.option(
    "--augment",
    metavar="NAME,...",
    help="Also store augmented copies of the audio, for `fit --augmented`: noise, reverb, speed, gain; noise:10..20 "
    "sets a range.",
)
@click.option("--copies", type=click.IntRange(min=1), default=1, help="Augmented copies of each utterance.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="What the augmented copies are drawn from.")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:0.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    help="Floating-point type of the computation; auto is fp32.",
)
@click.option(
    "--compile",
    is_flag=True,
    help="Compile a transformer's layers with torch: worth it from several hours of audio on.",
)
@click.option(
    "--dtype",
    type=click.Choice(["auto", "fp16", "fp32", "bf16"]),
    default="auto",
    help="Floating-point type of the stored values; auto is fp16, or fp32 for openSMILE's functionals.",
)
@click.option(
    "--transcribe",
    metavar="MODEL",
    help="Transcribe utterances without a text, with a folder or ORG/NAME such as openai/whisper-small.",
)
@click.option(
    "--language",
    metavar="CODE",
    help="What is spoken, for --transcribe: de, en, ...; auto detects it for each clip.  [default: the corpus's "
    "language, or auto]",
)
@click.option(
    "--budget",
    type=click.FloatRange(min=1),
    callback=_finite,
    help="Batch size in seconds of audio, or tokens.  [default: the feature's earlier one, or what fits in memory]",
)
@click.option(
    "--workers", type=click.IntRange(min=1), help="Processes on this machine, each with a GPU if there are any."
)
@click.option("--scheduler", metavar="ADDRESS", help="Encode on the workers of a Dask cluster: tcp://HOST:8786.")
@click.option("--shard", metavar="I/N", help="Encode shard I of N into a separate store, for `emofuse store merge`.")
@click.option("--no-text", is_flag=True, help="Store a digest of each text instead of the text.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and the size of the result; write nothing.")
@version_option
@verbosity_options
@command
def extract(**options: Any) -> None:
    """Run frozen encoders over a corpus, once, into a store.

    Example: extract --dataset iemocap --encoder hubert --encoder bert

    Exit codes: 0 done; 1 done, some items excluded (listed); 2 wrong use; 3 damaged data or a full disk; 130
    interrupted.
    """
    from emofuse.common.system.allocator import use_large_pages

    use_large_pages()  # before torch is imported
    with stage("loading libraries"):
        from emofuse.extract.api import run_extraction
        from emofuse.extract.plan.config import ExtractConfig

    sys.exit(run_extraction(ExtractConfig(**options)).exit_code)


def main() -> None:
    """Entry point of the script `extract`."""
    extract()
