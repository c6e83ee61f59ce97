"""`emofuse help`: the pages of `docs/`, which are installed with the package, on the screen."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import UnknownNameError, command
from emofuse.common.output.console import HELP_OPTIONS, format_table, say, screen_text

FOLDER = Path(__file__).resolve().parents[2] / "docs"


@click.command(name="help", context_settings=HELP_OPTIONS)
@click.argument("page", required=False)
@click.pass_context
@verbosity_options
@command
def help_command(context: click.Context, page: str | None) -> None:
    """Read a page of the documentation, or list the pages. The name of a command gives its help.

    Example: emofuse help protocols
    """
    pages = help_pages()
    if page is None:
        rows = [(name, _title(path)) for name, path in pages.items()]
        say(f"{format_table(('page', ''), rows)}\n\n`emofuse help PAGE` prints one, `emofuse COMMAND -h` the options.")
        return
    if page in pages:
        text = screen_text(pages[page].read_text(encoding="utf-8"))
        click.echo_via_pager(text) if sys.stdout.isatty() else say(text.rstrip())
        return
    group = context.parent and context.parent.command
    found = group.get_command(context.parent, page) if isinstance(group, click.Group) and context.parent else None
    if found is None:
        raise UnknownNameError("page of the documentation", page, pages, "`emofuse -h` lists the commands.")
    say(found.get_help(click.Context(found, info_name=f"emofuse {page}", **found.context_settings)))


def help_pages(folder: Path = FOLDER) -> dict[str, Path]:
    """The pages by name: that of the file, which a sub-folder's page shares with no other."""
    return {path.stem: path for path in sorted(folder.rglob("*.md"), key=lambda p: p.stem)}


def _title(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return next((line.lstrip("# ").strip() for line in file if line.startswith("# ")), "")
