"""The command `emofuse export`: options -> one `ExportConfig` -> one library call -> exit code."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import command
from emofuse.common.output.console import HELP_OPTIONS, say
from emofuse.common.output.verbosity import stage


@click.command(context_settings={**HELP_OPTIONS, "show_default": True})
@click.option("--run", required=True, type=click.Path(path_type=Path), help="The folder of a finished run of `fit`.")
@click.option(
    "--format",
    required=True,
    metavar="FORMAT",
    help="onnx (pip install 'emofuse[onnx]'), torchscript or safetensors; card writes MODEL_CARD.md alone; "
    "emobox-predictions writes the test predictions in EmoBox's form.",
)
@click.option(
    "--fold", type=click.IntRange(min=1), help="Only the models of this fold.  [default: the mean over all folds]"
)
@click.option("--refit", is_flag=True, help="The final model, which `fit --final` trains on all data.")
@click.option("--out", type=click.Path(path_type=Path), help="The folder to write.  [default: exports/RUN-FORMAT]")
@verbosity_options
@partial(command, interrupted="interrupted; nothing was written")
def export(**options: Any) -> None:
    """Export the model of a finished run as one file, with a description and a model card.

    The file takes features as a store has them; standardisation is inside. It is checked against PyTorch.

    Example: emofuse export --run runs/meld7-text-0123abcd --format onnx
    """
    with stage("loading libraries"):
        from emofuse.train.exporting.config import ExportConfig
        from emofuse.train.exporting.export import export as run_export

    run_export(ExportConfig(**options), say=say)
