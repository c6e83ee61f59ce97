"""Options that `emofuse report` and `emofuse store explore` share."""

from __future__ import annotations

import click

maps_option = click.option(
    "--maps",
    multiple=True,
    metavar="NAME,...",
    help="How maps of utterances are drawn: tsne, umap. UMAP takes half a minute to start.  "
    "[default: tsne, and umap where it is installed]",
)
