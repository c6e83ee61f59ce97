"""What a page is made of: sections of blocks. Blocks hold data; the templates alone know HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from emofuse.common.charts.drawing import Drawing

Width = Literal["narrow", "wide", "full"]
"""Of a block in the grid of its section: one column, two, or all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A cell or a line that leads elsewhere."""

    text: str
    href: str
    """Relative, or https; `render` refuses others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassName:
    """A cell with a class: its name beside its colour."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """A cell with short warnings, such as `short run`."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """A cell that plays a recording."""

    href: str
    """Relative to the page, or `data:audio/...`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spark:
    """A cell with a tiny chart: one of the page's `sparklines`."""

    key: str
    alt: str
    """What it shows, in words: the values."""
    values: Mapping[str, float] = field(default_factory=dict)
    """The values with their names, for tables without charts."""


Cell = str | int | float | None | Link | ClassName | Marks | Sound | Spark
"""None is an empty cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table."""

    name: str
    decimals: int | None = None
    """Of numbers; None prints them as they are."""
    help: str = ""
    """Shown when the header is pointed at."""
    filter: bool = False
    """A paged table offers a choice of this column's values; of numbers, a range."""
    below: bool = False
    """Shown in the cell of the column before it, in small letters: an interval below its score."""
    once: bool = False
    """A value that all rows have is said in the caption instead."""
    secondary: bool = False
    """Left out on paper, where there is little room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The one number of a page, in large type."""

    kind: ClassVar = "headline"
    width: Width = "full"
    value: str
    label: str
    """What it is: `UA, pooled over 5 folds`."""
    interval: str = ""
    meaning: str = ""
    """One or two sentences in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Short values with names: counts, costs, settings."""

    kind: ClassVar = "facts"
    width: Width = "full"
    title: str = ""
    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Warnings:
    """What a reader must know before believing the page; one sentence each."""

    kind: ClassVar = "warnings"
    width: Width = "full"
    lines: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Paragraphs."""

    kind: ClassVar = "text"
    width: Width = "full"
    lines: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A picture."""

    kind: ClassVar = "chart"
    width: Width = "narrow"
    name: str
    """Unique in the page, letters, digits and hyphens; also the name of its file."""
    title: str
    alt: str
    """What it shows, for those who cannot see it."""
    caption: str = ""
    grows: bool = False
    """Drawn larger where there is room, with its letters: for pictures of many small points."""
    drawing: Drawing


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of some rows, all of them shown."""

    kind: ClassVar = "table"
    width: Width = "full"
    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    totals: Sequence[Sequence[Cell]] = ()
    """Rows below the others, in bold: means, pooled scores."""
    caption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PagedTable:
    """A table of up to many thousand rows, to search, filter and sort; 25 are shown at a time."""

    kind: ClassVar = "paged"
    width: Width = "full"
    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Blocks of which one is shown at a time."""

    kind: ClassVar = "choice"
    width: Width = "narrow"
    name: str
    title: str
    options: Sequence[tuple[str, Any]]
    """Label -> block; the first one is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """Shell commands with a button that copies them."""

    kind: ClassVar = "commands"
    width: Width = "full"
    name: str
    title: str
    commands: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """Blocks that are folded away at first."""

    kind: ClassVar = "details"
    width: Width = "full"
    title: str
    blocks: Sequence[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One utterance: what was said, what was predicted, and what the model weighed."""

    id: str
    facts: Sequence[tuple[str, Cell]]
    text: Sequence[tuple[str, float]] = ()
    """Pieces of the text in order, spaces included, with weights in 0..1 (all 0: no heat line)."""
    charts: Sequence[Chart] = ()
    sound: Sound | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Some utterances, one card each."""

    kind: ClassVar = "examples"
    width: Width = "full"
    title: str
    caption: str = ""
    examples: Sequence[Example]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a page with a heading and an entry in the contents."""

    name: str
    """Unique in the page, letters, digits and hyphens."""
    title: str
    blocks: Sequence[Any]
    lead: str = ""
    """A sentence below the heading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page."""

    title: str
    subtitle: str = ""
    sections: Sequence[Section]
    key: str = ""
    """What short names stand for; stays in view beside the contents."""
    classes: Sequence[str] = ()
    """Of the task, in its order: each has one colour in all charts and tables of the page."""
    sparklines: dict[str, str] = field(default_factory=dict)
    """Key -> SVG element of a `Spark`."""
