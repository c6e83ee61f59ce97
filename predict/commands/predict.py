"""The command `emofuse predict`: options -> one `PredictConfig` -> predictions as they come -> an exit code."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import click

from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import DONE, EXCLUDED, command
from emofuse.common.output.console import HELP_OPTIONS, plural, warn
from emofuse.common.output.verbosity import stage


@click.command(context_settings={**HELP_OPTIONS, "show_default": True})
@click.argument("inputs", nargs=-1, type=click.Path(path_type=Path))
@click.option("--run", required=True, type=click.Path(path_type=Path), help="The folder of a finished run of `fit`.")
@click.option("--text", help="The words of the only clip; alone, what a run that reads text alone is asked about.")
@click.option(
    "--transcribe",
    metavar="MODEL",
    help="Transcribe clips without a text, with a folder or ORG/NAME such as openai/whisper-small.",
)
@click.option(
    "--language",
    metavar="CODE",
    help="What is spoken, for --transcribe: de, en, ...  [default: detected for each clip]",
)
@click.option(
    "--weights",
    multiple=True,
    metavar="[MODALITY=]WHAT",
    help="Weights of the run's encoder, where the recorded ones are elsewhere now: a folder, or ORG/NAME[@revision]; "
    "audio=WHAT and text=WHAT for a run with two.  [default: as the run has recorded]",
)
@click.option("--fold", type=click.IntRange(min=1), help="Only the models of this fold.  [default: the mean of all]")
@click.option("--refit", is_flag=True, help="Only the final model, which `fit --final` trained on all data.")
@click.option(
    "--window",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds of a window: a timeline.  [default: the whole clip; over 30 s, segments of 30 s]",
)
@click.option(
    "--hop",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds from window to window.  [default: the window's length]",
)
@click.option("--format", type=click.Choice(["jsonl", "csv"]), default="jsonl", help="JSON Lines or CSV.")
@click.option("--out", type=click.Path(path_type=Path), help="The file to write.  [default: stdout]")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:0.")
@click.option(
    "--budget",
    type=click.FloatRange(min=1),
    help="Batch size of the encoders in seconds of audio, or tokens.  [default: what fits in memory]",
)
@verbosity_options
@partial(command, interrupted="interrupted; predictions that were printed are complete, a file of --out is not written")
def predict(**options: Any) -> None:
    """Ask a finished run about new recordings: audio files, folders of them, or a manifest (CSV, JSON Lines).

    Example: emofuse predict --run runs/iemocap4-smcn-0123abcd clip.wav --text "what a day"

    Exit codes: 0 done; 1 done, some clips excluded (listed); 2 wrong use; 3 a damaged run, or a full disk; 130
    interrupted.
    """
    from emofuse.common.system.allocator import use_large_pages

    use_large_pages()  # before torch is imported
    with stage("loading libraries"):
        from emofuse.predict.config import PredictConfig
        from emofuse.predict.output import PredictionWriter, open_output, refuse_existing
        from emofuse.predict.predictor import Predictor

    config = PredictConfig(**options)
    if config.out is not None:
        refuse_existing(config.out)
    predictor = Predictor(config, say=warn)  # stdout is for the predictions
    to_stdout = nullcontext(PredictionWriter(sys.stdout, config.format, on_screen=sys.stdout.isatty()))
    with to_stdout if config.out is None else open_output(config.out, config.format) as writer:
        for prediction in predictor.predictions():
            writer.write(prediction)
            writer.flush()
    if predictor.excluded:
        warn(f"{plural(len(predictor.excluded), 'item')} excluded, named above")
    sys.exit(EXCLUDED if predictor.excluded else DONE)
