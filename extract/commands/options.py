"""The options that say which corpus is read: shared by `extract`, `finetune` and `manifest`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from emofuse.common.cli.complete_names import complete_names

# Written out, so that --help imports no corpus reader; a test compares it with the registry.
DATASETS = (
    "iemocap, meld, savee, ravdess, emodb, cremad, tess, esd, emovdb, jlcorpus, emovo, aesdd, msp-improv, "
    "msp-podcast, cmu-mosei, goemotions, emobox, custom, synthetic."
)


def _datasets() -> list[str]:
    from emofuse.datasets.registry import CORPORA

    return CORPORA.names()


def _encoders() -> list[str]:
    from emofuse.extract.encoders.registry import ENCODERS

    return ENCODERS.names()


complete_datasets, complete_encoders = complete_names(_datasets), complete_names(_encoders)
max_seconds = click.option(
    "--max-seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Exclude clips that last longer.",
)


def corpus_options(function: Any) -> Any:
    """Add --root, --limit, --manifest, --columns, --tables, --meld-clips and --transcripts to a command."""
    for option in (
        click.option(
            "--transcripts", type=click.Path(path_type=Path), help="CSV with columns id,text (SAVEE has none)."
        ),
        click.option(
            "--meld-clips",
            type=click.Choice(["plain", "recut"]),
            help="Which test clips of MELD to use.  [default: plain]",
        ),
        click.option("--tables", metavar="A,B", help="The tables of an audformat database to read (custom)."),
        click.option("--columns", metavar="FIELD=COLUMN,...", help="Your names of columns: label=emotion (custom)."),
        click.option(
            "--manifest",
            type=click.Path(path_type=Path),
            help="Your CSV or JSONL, audformat database or saved Hugging Face dataset (custom); or a set (emobox).",
        ),
        click.option("--limit", type=click.IntRange(min=1), help="At most this many utterances, spread evenly."),
        click.option(
            "--root",
            type=click.Path(path_type=Path),
            help="The corpus folder.  [default: $EMOFUSE_CORPORA/NAME or corpora/NAME]",
        ),
    ):
        function = option(function)
    return function
