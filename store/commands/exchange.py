"""`emofuse store export` and `import`: features to and from the formats of other labs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from emofuse.common.errors import EXCLUDED, command
from emofuse.common.location import Location, LocationType

NAMES = "npy, emobox, merbench, emotion2vec, mmsa, lhotse, parquet"


@click.command("export")
@click.argument("file", type=LocationType())
@click.option("--to", required=True, help=f"The format: {NAMES}.")
@click.option(
    "--feature", "features", multiple=True, required=True, help="A feature of FILE; mmsa and parquet: several."
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The new folder; mmsa, parquet: the new file."
)
@click.option("--valid", metavar="KEY=V,...", help="mmsa: its valid side, such as session=4; else the official split.")
@click.option("--test", metavar="KEY=V,...", help="mmsa: its test side.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@command
def export(file: Location, to: str, features: tuple[str, ...], out: Path, **options: Any) -> None:
    """Write features of FILE (a path or a URL) as another lab has them; what emofuse knows of them goes beside.

    Exit code 1: written, but utterances were left out (listed).
    """
    from emofuse.store.exchange import export as run
    from emofuse.store.exchange.report import counted

    done = run(file, to, features, out, **options)
    print(f"{out}: {done.written} utterances of {', '.join(features)}")
    left_out = [
        *counted(done.lacking, "were left out: FILE does not have " + " and ".join(features) + " of them"),
        *counted(done.stale, "were left out: their audio or text has changed since; run `extract` again"),
    ]
    print("\n".join(left_out), end="\n" if left_out else "")
    sys.exit(EXCLUDED if left_out else 0)


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--from", "form", required=True, help=f"The format: {NAMES}, huggingface.")
@click.option("--source", type=click.Path(path_type=Path), required=True, help="The folder or file to read.")
@click.option("--name", required=True, help="What the feature is to be called in FILE.")
@click.option("--modality", type=click.Choice(("audio", "text")), required=True)
@click.option("--manifest", type=click.Path(path_type=Path), help="The utterances (JSON Lines), where FILE is new.")
@click.option("--corpus", help="Where FILE is new: make its manifest from the source, for a corpus of this name.")
@click.option("--frame-rate", type=float, help="Frames per second, of audio.")
@click.option("--dtype", type=click.Choice(("fp16", "fp32", "bf16")), help="Default: as the source has it.")
@click.option(
    "--fitted-on", help="What made the values was fitted on, with labels: none, CORPUS, CORPUS:session=1,2, ..."
)
@click.option("--encoder", help="What made the values (default: imported).")
@click.option("--keep-padding", is_flag=True, help="Frames of zeros at an end are values, not padding.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@command
def import_(file: Path, quiet: bool, **options: Any) -> None:
    """Take a feature into FILE, joined by utterance id.

    Exit code 1: imported, but ids of one side are not on the other (listed).
    """
    from emofuse.store.core.fitted_on import UNKNOWN, normal
    from emofuse.store.exchange import Import, import_feature

    done = import_feature(Import(store=file, **options), quiet=quiet)
    idle = "no values to write, it has them all" if done.news else "nothing to do, it has them all already"
    state = f"{done.written} utterances written" if done.written else idle
    print(f"{file}: feature {done.spec.name}, {'x'.join(map(str, done.spec.frame_shape))}, {done.spec.dtype}: {state}")
    print("\n".join([*(f"{done.spec.name} {words}" for words in done.news), *done.report.lines()]))
    if normal(done.spec.provenance.get("fitted_on")) == UNKNOWN:
        print(
            "nobody has said what it was fitted on, so `fit` will refuse it; import it with --fitted-on none, or CORPUS"
        )
    sys.exit(0 if done.report.complete else EXCLUDED)
