"""A published table as data: its tasks, its rows, and the figures that it prints; one TOML each beside this module."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from emofuse.common.errors import UnknownNameError, UsageError, complain
from emofuse.common.shapes import misshapen
from emofuse.manifests.protocol import METRICS

UNITS = {"fraction": (1, 3), "percent": (100, 1)}
"""How a paper prints its figures: times what, with how many decimals."""
FIGURES = ("line", "grid", "tsne")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableTask:
    """One block of columns: a protocol, what is measured on it, and the features that it needs."""

    protocol: str
    metrics: Mapping[str, str]
    """The printed name of a column -> what it is: a key of METRICS, or `recall:CLASS`."""
    features: Mapping[str, str]
    """Modality -> feature, where a row does not say otherwise."""
    select: str
    """As `fit --select`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One line of the table: a variant that is run, or somebody else's system, which is `cited` with its figures."""

    name: str
    model: str
    ablation: str | None
    settings: tuple[str, ...]
    """As `fit --set`."""
    features: Mapping[str, str]
    without: str | None
    """The modality that is absent when the trained model is scored."""
    tasks: tuple[str, ...]
    """Where nothing is said: those for which it has figures, or, without any, all."""
    published: Mapping[str, Mapping[str, float]]
    """Protocol -> printed name of the column -> figure; whatever the paper does not print is absent."""
    cited: bool
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What is drawn from the rows: a `line` over a setting, a `grid` of two settings, or `tsne` panels."""

    kind: str
    over: Mapping[str, Sequence[float]]
    """Setting -> its values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A published table or figure."""

    name: str
    paper: str
    where: str
    about: str
    unit: str
    tasks: tuple[TableTask, ...]
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...]
    fine_tuned: tuple[str, ...]
    """Features that the paper fine-tuned."""
    figure: Figure | None

    @property
    def features(self) -> tuple[str, ...]:
        """Every feature that a task or a row needs, in their order."""
        needed = [*(t.features for t in self.tasks), *(r.features for r in self.rows)]
        return tuple(dict.fromkeys(f for some in needed for f in some.values()))

    def row(self, name: str) -> TableRow:
        """A row by its printed name; an unknown one lists all."""
        for row in self.rows:
            if row.name == name:
                return row
        raise UnknownNameError(f"row of {self.name}", name, [r.name for r in self.rows if not r.cited])


def names() -> list[str]:
    """Every table, sorted."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.toml"))


@cache
def load(name: str) -> Table:
    """A table by name.

    Raises:
        UnknownNameError: No such table; lists all.
        UsageError: The file is wrong; lists every mistake.
    """
    path = Path(__file__).parent / f"{name}.toml"
    if name not in names():
        raise UnknownNameError("table", name, names(), "`emofuse reproduce --list` says what each is.")
    try:
        return parse(name, tomllib.loads(path.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}") from None


_SCALAR: dict[str, Any] = {"name": str, "model": str, "ablation": str, "without": str, "cited": bool, "note": str}
_SHAPE: dict[str, Any] = {
    "paper": str,
    "where": str,
    "about": str,
    "unit": str,
    "model": str,
    "notes": [str],
    "fine_tuned": [str],
    "figure": {"kind": str, "over": {str: [float]}},
    "tasks": [{"protocol": str, "metrics": {str: str}, "features": {str: str}, "select": str}],
    "rows": [_SCALAR | {"set": [str], "features": {str: str}, "tasks": [str], "published": {str: {str: float}}}],
}
_NEEDED = ("paper", "where", "about", "unit", "tasks", "rows")


def parse(name: str, raw: Mapping[str, Any]) -> Table:
    """Build a table from its TOML.

    Raises:
        UsageError: Lists what has the wrong shape; where all have the right one, what does not fit together.
    """
    complain([f"{k!r} is missing" for k in _NEEDED if k not in raw] + misshapen(dict(raw), _SHAPE), f"{name} is wrong")
    tasks = tuple(
        TableTask(
            protocol=t["protocol"],
            metrics=t["metrics"],
            features=t.get("features", {}),
            select=t.get("select", "validation"),
        )
        for t in raw["tasks"]
    )
    every = tuple(t.protocol for t in tasks)
    rows = tuple(
        TableRow(
            name=r["name"],
            model=r.get("model", raw.get("model", "")),
            ablation=r.get("ablation"),
            settings=tuple(r.get("set", ())),
            features=r.get("features", {}),
            without=r.get("without"),
            tasks=tuple(r.get("tasks") or r.get("published") or every),
            published=r.get("published", {}),
            cited=r.get("cited", False),
            note=r.get("note", ""),
        )
        for r in raw["rows"]
    )
    figure = raw.get("figure")
    table = Table(
        name=name,
        paper=raw["paper"],
        where=raw["where"],
        about=raw["about"],
        unit=raw["unit"],
        tasks=tasks,
        rows=rows,
        notes=tuple(raw.get("notes", ())),
        fine_tuned=tuple(raw.get("fine_tuned", ())),
        figure=None if figure is None else Figure(kind=figure["kind"], over=figure.get("over", {})),
    )
    complain(_mistakes(table), f"{name} is wrong")
    return table


def _mistakes(table: Table) -> list[str]:
    problems = [] if table.unit in UNITS else [f"unit is {table.unit!r}; valid: {', '.join(UNITS)}"]
    if table.figure and table.figure.kind not in FIGURES:
        problems.append(f"figure.kind is {table.figure.kind!r}; valid: {', '.join(FIGURES)}")
    columns = {t.protocol: set(t.metrics) for t in table.tasks}
    for task in table.tasks:
        wrong = [m for m in task.metrics.values() if m not in METRICS and not m.startswith("recall:")]
        problems += [f"no metric named {m!r}; valid: {', '.join(METRICS)}, recall:CLASS" for m in wrong]
        if task.select not in ("validation", "last"):
            problems.append(f"select is {task.select!r}; valid: validation, last")
    counts = Counter(row.name for row in table.rows)
    problems += [f"row {name!r} is there {n} times" for name, n in counts.items() if n > 1]
    for row in table.rows:
        if not row.cited and not row.model:
            problems.append(f"row {row.name!r} has no model")
        problems += [f"row {row.name!r}: no task {t!r}" for t in row.tasks if t not in {*columns, *row.published}]
        for protocol, figures in row.published.items():
            if protocol not in columns:
                problems.append(f"row {row.name!r} has figures for {protocol!r}, which is no task")
            else:
                problems += [f"row {row.name!r}: no column {c!r}" for c in figures if c not in columns[protocol]]
    return problems
