"""Options that the commands share that write pages, charts and tables."""

from __future__ import annotations

import click

from emofuse.common.output.formats import PAGE_FORMATS

page_format_option = click.option(
    "--format",
    type=click.Choice(PAGE_FORMATS),
    default="html",
    help="One page, or a file for each chart (svg, png, pdf) or each table (csv, md, latex).",
)
open_option = click.option("--open", is_flag=True, help="Open the page in the browser.")
no_text_option = click.option("--no-text", is_flag=True, help="Leave the texts of the utterances out of the page.")
audio_root_option = click.option(
    "--audio-root",
    multiple=True,
    metavar="[CORPUS=]DIR",
    help="The folder of the corpus: the page gets players that load the recordings from there.",
)
