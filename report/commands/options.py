"""Options that `emofuse report` and `emofuse store explore` share."""

from __future__ import annotations

import click

audio_root_option = click.option(
    "--audio-root",
    multiple=True,
    metavar="[CORPUS=]DIR",
    help="The folder of the corpus: the page gets players that load the recordings from there.",
)
maps_option = click.option(
    "--maps",
    multiple=True,
    metavar="NAME,...",
    help="How maps of utterances are drawn: tsne, umap. UMAP takes half a minute to start.  "
    "[default: tsne, and umap where it is installed]",
)
