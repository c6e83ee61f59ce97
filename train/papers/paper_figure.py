"""A figure of a paper as drawn from our runs."""

from __future__ import annotations

from dataclasses import dataclass

from emofuse.common.charts.drawing import Drawing
from emofuse.common.page.blocks import Chart


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperFigure:
    """One figure: whole for a file, and in charts that each fit a phone for a page."""

    drawing: Drawing
    charts: tuple[Chart, ...]
