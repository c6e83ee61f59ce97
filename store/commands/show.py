"""`emofuse store show`: one utterance of a store in detail."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import DAMAGED, UsageError, command
from emofuse.common.location import Location, LocationType
from emofuse.common.output.console import format_table, printable, say, say_coloured
from emofuse.common.output.formats import PICTURES, PictureFormat

if TYPE_CHECKING:
    from emofuse.manifests.schema import Utterance
    from emofuse.store.inspect.picture import ColourMode
    from emofuse.store.inspect.picture_scale import Scale, ScaledBlock
    from emofuse.store.inspect.show import UtteranceView


@click.command(short_help="Show one utterance in detail, with pictures.")
@click.argument("file", type=LocationType())
@click.argument("utterance")
@click.option("--feature", metavar="NAME", help="Only this feature [all].")
@click.option("--layer", type=int, help="The layer to show, by its number [the last].")
@click.option(
    "--scale",
    type=click.Choice(["auto", "values", "dimensions"]),
    default="auto",
    show_default=True,
    help="Colours: values as they are, or each dimension standardised; auto chooses by the feature.",
)
@click.option("--format", type=click.Choice(PICTURES), help="Also write the pictures, as a file of this format.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The file of the pictures [UTTERANCE.FORMAT in the current folder].",
)
@verbosity_options
@command
def show(
    file: Location,
    utterance: str,
    feature: str | None,
    layer: int | None,
    scale: Scale,
    format: PictureFormat | None,
    out: Path | None,
) -> None:
    """Show everything FILE stores about UTTERANCE, with pictures of its features.

    Exit code 3: a feature is damaged.
    """
    from emofuse.store.core.reader import FeatureStore
    from emofuse.store.inspect.picture import colour_mode
    from emofuse.store.inspect.show import find_utterance, utterance_views

    if out is not None and format is None:
        raise UsageError(f"--out {out} has no effect without --format: add --format {_format_of(out)}")
    with FeatureStore(file) as store:
        u = find_utterance(store, utterance)
        views = utterance_views(store, u, feature, layer)
        corpus, damaged = store.corpus, list(store.damaged_features.values())
    lines = [f"{printable(u.id)} of corpus {printable(corpus)}", *_field_lines(u)]
    if views:
        lines.append(_statistics_table(views))
    lines += [f"damaged: {printable(str(error), 400)}" for error in damaged]
    say("\n".join(lines))
    colours = colour_mode(sys.stdout, os.environ)
    for view in views:
        say_coloured("\n".join(_picture_lines(view, colours, scale)))
    if format is not None:
        _write_pictures(out or _file_of(u.id, format), format, u, views, scale)
    if damaged or any(view.mark == "damaged" for view in views):
        sys.exit(DAMAGED)


def _field_lines(u: Utterance) -> list[str]:
    from emofuse.store.inspect.listing import utterance_fields

    lines = []
    for key, value in utterance_fields(u).items():
        pairs = value.items() if isinstance(value, dict) else [("", value)]
        lines += [f"  {key} {printable(k)}".rstrip() + f": {printable(str(v), 1000)}" for k, v in pairs if key != "id"]
    return lines


def _statistics_table(views: Sequence[UtteranceView]) -> str:
    rows = []
    for view in views:
        statistics = view.statistics() or {}
        values = (f"{statistics[k]:.4g}" if k in statistics else "-" for k in ("min", "mean", "max", "deviation"))
        zeros = f"{100 * statistics['zeros']:.1f}%" if statistics else "-"
        seconds = "-" if view.seconds is None else f"{view.seconds:.2f}"
        rows.append((printable(_title(view)), view.frames, seconds, view.source, view.mark, *values, zeros))
    header = ("feature", "frames", "seconds", "source", "mark", "min", "mean", "max", "deviation", "zeros")
    return format_table(header, rows)


def _title(view: UtteranceView) -> str:
    return view.feature.name if view.layer is None else f"{view.feature.name}, layer {view.layer}"


def _picture_lines(view: UtteranceView, colours: ColourMode, scale: Scale) -> list[str]:
    from emofuse.store.inspect.picture import ROWS
    from emofuse.store.inspect.picture_scale import scaled_blocks

    if view.values is None:
        return [f"{printable(_title(view))}: no picture, its values are {view.mark}"]
    end = f"{view.seconds:.2f} s" if view.seconds is not None else f"{view.frames} frames"
    title = f"{printable(_title(view))}: 0 to {end}"
    blocks = scaled_blocks(view, scale)
    if len(blocks) == 1:
        about, lines = _block_lines(blocks[0], colours, ROWS)
        return [f"{title}; {about}", *lines]
    drawn = [f"{title}; each block on its own scale"]
    for block in reversed(blocks):
        about, lines = _block_lines(block, colours, ROWS // len(blocks))
        drawn += [f"{block.name}, {about}", *lines]
    return drawn


def _block_lines(block: ScaledBlock, colours: ColourMode, rows: int) -> tuple[str, list[str]]:
    """What the colours of a block mean, and its picture."""
    from emofuse.store.inspect.picture import draw

    lines, (low, high) = draw(block.values, colours, rows)
    if colours == "shades":  # a border distinguishes dark cells from no cells
        lines = [f"|{line}|" for line in lines]
    unit = "" if block.unit == "value" else f" {block.unit}"
    last = block.first + block.values.shape[1] - 1
    return f"dimensions {block.first} (bottom) to {last}; {low:.3g} (dark) to {high:.3g} (bright){unit}", lines


def _format_of(out: Path) -> PictureFormat:
    """The format that the ending of a file suggests."""
    return next((format for format in PICTURES if out.suffix.lower() == f".{format}"), "png")


def _file_of(id: str, format: PictureFormat) -> Path:
    """The file in the current folder for an utterance, whose id may have any characters."""
    return Path(f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', id).strip('.-') or 'utterance'}.{format}")


def _write_pictures(
    path: Path, format: PictureFormat, u: Utterance, views: Sequence[UtteranceView], scale: Scale
) -> None:
    """Write the pictures of all features into one file."""
    from emofuse.common.charts.drawing import picture
    from emofuse.common.charts.frames import frames
    from emofuse.store.inspect.output import write_file
    from emofuse.store.inspect.picture_scale import chart_of

    charts = [chart_of(f"{printable(u.id)}: {_title(v)}", v, scale) for v in views if v.values is not None]
    if not charts:
        say(f"no picture in {printable(str(path), 400)}: nothing to draw")
        return
    write_file(path, picture(frames(charts), format))
    say(f"picture: {printable(str(path), 400)}")
