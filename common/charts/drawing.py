"""From data to a picture: what a chart is, its figure in the one theme, and its bytes as SVG, PNG or PDF."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Literal

from emofuse.common.charts.inline import page_svg
from emofuse.common.charts.palette import PRINTED, THEMED, Colours
from emofuse.common.errors import UsageError
from emofuse.common.output.formats import PictureFormat

Drawing = Callable[[Colours], Any]
"""Draws a chart in these colours and returns its matplotlib Figure. A function of a chart's kind returns one."""
MISSING = "charts and pages need matplotlib and jinja2: pip install 'emofuse[report]'"
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "emofuse",
    "pdf.fonttype": 42,
    "path.simplify": True,
}
_EDGE = 2
"""Points between the labels of a chart and its edge."""
NARROW, WIDE = 3.5, 7.0
"""Widths in inches. A narrow chart fits a phone at the size it is drawn in, a wide one scrolls there."""


def has_report_extra() -> bool:
    """Whether matplotlib and jinja2 are installed; imports neither."""
    return all(map(find_spec, ("matplotlib", "jinja2")))


def require_report_extra() -> None:
    """Refuse to begin where a chart or a page could not be drawn at the end.

    Raises:
        UsageError: matplotlib or jinja2 is not installed; names the extra.
    """
    if not has_report_extra():
        raise UsageError(MISSING)


def new_figure(colours: Colours, width: float = NARROW, height: float = 2.6) -> Any:
    """An empty figure in the theme; sizes in inches, 96 CSS pixels each.

    Raises:
        UsageError: matplotlib is not installed.
    """
    require_report_extra()
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(width, height), layout="constrained", facecolor="none")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02)
    return figure


def new_axes(figure: Any, colours: Colours, *place: Any, grid: Literal["x", "y", "both", ""] = "y") -> Any:
    """Axes in the theme: two spines, small ticks, and a grid along one direction.

    Args:
        place: As `Figure.add_subplot`, such as 2, 1, 1, or a cell of a grid.
    """
    axes = figure.add_subplot(*place, facecolor="none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(colours.muted)
    axes.tick_params(colors=colours.ink, color=colours.muted, labelsize=8, length=3)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=colours.muted, fontsize=8.5)
    axes.title.set(color=colours.ink, fontsize=9)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=colours.grid, linewidth=0.8)
    return axes


def plain(text: str, width: int = 40) -> str:
    """A label from a corpus as text: not too long, without control characters, and `$` no formula."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return (clean if len(clean) <= width else clean[: width - 1] + "…").replace("$", r"\$")


def legend(axes: Any, colours: Colours, **options: Any) -> Any:
    """A legend without a frame, in the theme; with `ncols` its names run from left to right, then down."""
    handles, names = axes.get_legend_handles_labels()
    across = options.get("ncols", 1)
    order = [n for column in range(across) for n in range(column, len(names), across)]
    return axes.legend(
        [handles[n] for n in order],
        [names[n] for n in order],
        **({"fontsize": 7.5, "frameon": False, "labelcolor": colours.ink, "handlelength": 1.4} | options),
    )


def picture(drawing: Drawing, format: PictureFormat = "png", note: str = "") -> bytes:
    """A chart as a file on white paper.

    Args:
        note: Printed below the chart, wrapped: what a reader must know before believing it.
    """
    figure = drawing(PRINTED)
    figure.set_facecolor(PRINTED.paper)
    if note:
        _add_note(figure, note)
    return _saved(figure, format)


def inline_svg(drawing: Drawing, name: str) -> str:
    """A chart as an SVG element for a page: its colours follow the page's theme, its letters the page's font.

    Args:
        name: Unique in the page: it starts every id in the element.
    """
    figure = drawing(THEMED)
    return page_svg(quick_svg(figure), name, getattr(figure, "titles_of", {}))


def quick_svg(figure: Any) -> str:
    """The figure as SVG, drawn once: `savefig` would draw it twice and measure it twice, in double the time."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer, canvas = io.StringIO(), FigureCanvasSVG(figure)
    figure.dpi = 72
    with rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if len(figure.axes) == 1:
            fitted = _tick_labels(figure.axes[0])
            _fill(figure, figure.axes[0])
            if _tick_labels(figure.axes[0]) != fitted:  # the new size has other ticks, whose labels may be wider
                _fill(figure, figure.axes[0])
        else:
            figure.get_layout_engine().execute(figure)
        figure.set_layout_engine("none")
        canvas.print_svg(buffer, metadata={"Date": None})
    return buffer.getvalue()


def _fill(figure: Any, axes: Any) -> None:
    """Make the axes as large as the figure leaves room for beside their labels."""
    width, height = figure.bbox.width, figure.bbox.height
    outer, inner = axes.get_tightbbox(for_layout_only=True), axes.get_window_extent()
    left, right = inner.x0 - outer.x0 + _EDGE, outer.x1 - inner.x1 + _EDGE
    below, above = inner.y0 - outer.y0 + _EDGE, outer.y1 - inner.y1 + _EDGE
    size = (max(width - left - right, 1) / width, max(height - below - above, 1) / height)
    axes.set_position((left / width, below / height, *size))


def _tick_labels(axes: Any) -> list[str]:
    return [label.get_text() for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]


def _saved(figure: Any, format: PictureFormat) -> bytes:
    from matplotlib import rc_context

    buffer = io.BytesIO()
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}  # the same chart gives the same bytes
    with rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font does not have appear as boxes, that is enough
        figure.savefig(buffer, format=format, dpi=150, metadata=dates[format], facecolor=figure.get_facecolor())
    return buffer.getvalue()


def _add_note(figure: Any, note: str) -> None:
    """Text below the figure, as wide as the figure, which grows by it."""
    import textwrap

    width, height = figure.get_size_inches()
    lines = textwrap.wrap(note, int(width * 17))
    extra = 0.14 * len(lines) + 0.1
    figure.set_size_inches(width, height + extra)
    figure.get_layout_engine().set(rect=(0, extra / (height + extra), 1, height / (height + extra)))
    figure.text(
        0.5 / width, 0.05 / (height + extra), "\n".join(lines), fontsize=7, color=PRINTED.warning, va="bottom",
        parse_math=False,
    )  # fmt: skip
