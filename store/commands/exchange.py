"""`emofuse store export` and `import`: features to and from other labs' formats."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import EXCLUDED, command
from emofuse.common.location import Location, LocationType
from emofuse.common.output.console import plural, say

# Strings, not the registry: `--help` must not import the formats' libraries.
EXPORT_FORMATS = "npy, emobox, merbench, emotion2vec, mmsa, lhotse, parquet"
IMPORT_FORMATS = f"{EXPORT_FORMATS}, huggingface"


@click.command("export", short_help="Write features in another lab's format.")
@click.argument("file", type=LocationType())
@click.option("--to", required=True, help=f"The format: {EXPORT_FORMATS}.")
@click.option(
    "--feature",
    "features",
    multiple=True,
    required=True,
    help="A feature of FILE; mmsa and parquet take several: repeat the option.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder to create; for mmsa and parquet, the file.",
)
@click.option(
    "--valid",
    metavar="KEY=V,...",
    help="mmsa only: the valid split, such as session=4 [the official split].",
)
@click.option("--test", metavar="KEY=V,...", help="mmsa only: the test split.")
@verbosity_options
@command
def export(file: Location, to: str, features: tuple[str, ...], out: Path, **options: Any) -> None:
    """Write features of FILE (a path or a URL) in another lab's format, with emofuse's metadata beside them.

    Exit code 1: written, but some utterances were left out (listed).
    """
    from emofuse.store.exchange import export as run
    from emofuse.store.exchange.join_report import counted

    result = run(file, to, features, out, **options)
    say(f"{out}: {plural(result.written, 'utterance')} of {', '.join(features)}")
    left_out = [
        *counted(result.missing, f"were left out: FILE has no values of {' and '.join(features)} for them"),
        *counted(result.stale, "were left out: their audio or text has changed since; run `extract` again"),
    ]
    if left_out:
        say("\n".join(left_out))
    sys.exit(EXCLUDED if left_out else 0)


@click.command("import", short_help="Read features from another lab's format.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--from", "format", required=True, help=f"The format: {IMPORT_FORMATS}.")
@click.option("--source", type=click.Path(path_type=Path), required=True, help="The folder or file to read.")
@click.option("--name", required=True, help="The feature's name in FILE.")
@click.option("--modality", type=click.Choice(("audio", "text")), required=True)
@click.option("--manifest", type=click.Path(path_type=Path), help="If FILE is new: its utterances (JSON Lines).")
@click.option("--corpus", help="If FILE is new: make its manifest from the source, under this corpus name.")
@click.option("--frame-rate", type=float, help="Frames per second; audio only.")
@click.option(
    "--dtype", type=click.Choice(("fp16", "fp32", "bf16")), help="How to store the values [the source's type]."
)
@click.option(
    "--fitted-on",
    help="What the encoder was fitted on, with labels: none, CORPUS, CORPUS:session=1,2, ...",
)
@click.option("--encoder", help="The encoder that computed the values [imported].")
@click.option("--keep-padding", is_flag=True, help="Keep frames of zeros at an end: they are values, not padding.")
@verbosity_options
@command
def import_(file: Path, **options: Any) -> None:
    """Import a feature into FILE, joined by utterance id.

    Exit code 1: imported, but some ids of the source or of FILE have no counterpart (listed).
    """
    from emofuse.store.core.fitted_on import UNKNOWN_FITTED_ON, normalise_fitted_on
    from emofuse.store.exchange import ImportRequest, import_feature

    result = import_feature(ImportRequest(store=file, **options))
    spec = result.spec
    if result.written:
        state = f"{plural(result.written, 'utterance')} written"
    else:
        state = "no values to write, it has them all" if result.additions else "nothing to do, it has them all already"
    say(f"{file}: feature {spec.name}, {'x'.join(map(str, spec.frame_shape))}, {spec.dtype}: {state}")
    say("\n".join([*(f"{spec.name} {addition}" for addition in result.additions), *result.report.lines()]))
    if normalise_fitted_on(spec.provenance.get("fitted_on")) == UNKNOWN_FITTED_ON:
        say(
            "it is unspecified what its encoder was fitted on, so `fit` will refuse it; import it with --fitted-on "
            "none or --fitted-on CORPUS"
        )
    sys.exit(0 if result.report.complete else EXCLUDED)
