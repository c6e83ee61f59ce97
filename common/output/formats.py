"""The formats that pages, charts and tables are written in."""

from __future__ import annotations

from typing import Literal, get_args

PictureFormat = Literal["svg", "png", "pdf"]
TableFormat = Literal["csv", "md", "latex"]
PageFormat = Literal["html", "svg", "png", "pdf", "csv", "md", "latex"]
PICTURES: tuple[PictureFormat, ...] = get_args(PictureFormat)
TABLES: tuple[TableFormat, ...] = get_args(TableFormat)
PAGE_FORMATS: tuple[PageFormat, ...] = get_args(PageFormat)
