"""A published table as data: tasks, rows and printed figures, read from the TOML file of its name in this folder."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from emofuse.common.errors import UnknownNameError, UsageError, raise_problems
from emofuse.common.toml_checks import shape_problems
from emofuse.manifests.metrics.scores import LABEL_METRICS

UNITS = {"fraction": (1, 3), "percent": (100, 1)}
"""How a paper prints its figures: (factor, decimals)."""
FIGURE_KINDS = ("line", "grid", "tsne")
MEAN = "mean"
"""The name of the mean of several tasks, among protocols."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableTask:
    """One block of columns: a protocol, the measures, and the features."""

    protocol: str
    metrics: Mapping[str, str]
    """Printed name of a column -> its measure: a key of LABEL_METRICS, or `recall:CLASS`."""
    features: Mapping[str, str]
    """Modality -> feature, unless a row names its own."""
    select: str
    """The value of `fit --select`."""
    mean_of: tuple[str, ...] = ()
    """Protocols of other tasks, whose figures this block averages; it is not run itself."""

    @property
    def title(self) -> str:
        """The protocol, or which tasks the mean is of."""
        return f"mean of {' and '.join(self.mean_of)}" if self.mean_of else self.protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One row: a variant to run, or another system, which is `cited` with its figures and never run."""

    name: str
    model: str
    ablation: str | None
    settings: tuple[str, ...]
    """Values of `fit --set`."""
    features: Mapping[str, str]
    """Modality -> feature, instead of the task's."""
    without: str | None
    """The modality that is absent when the trained model is scored."""
    tasks: tuple[str, ...]
    """Protocols. By default those that have figures, or all if none has."""
    published: Mapping[str, Mapping[str, float]]
    """Protocol -> printed name of a column -> figure; columns without a printed figure are absent."""
    cited: bool
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureSpec:
    """The drawing of the rows: a `line` over a setting, a `grid` of two settings, or `tsne` panels."""

    kind: str
    over: Mapping[str, Sequence[float]]
    """Setting -> its values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A published table or figure."""

    name: str
    paper: str
    where: str
    """Its number in the paper."""
    about: str
    unit: str
    """A key of `UNITS`."""
    tasks: tuple[TableTask, ...]
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...]
    fine_tuned: tuple[str, ...]
    """Features that the paper fine-tuned."""
    figure: FigureSpec | None
    mean: TableTask | None = None
    """Columns with the mean of several tasks, named `MEAN` instead of a protocol."""

    @property
    def blocks(self) -> tuple[TableTask, ...]:
        """The tasks, then the mean of several of them, if the table prints one."""
        return self.tasks if self.mean is None else (*self.tasks, self.mean)

    @property
    def features(self) -> tuple[str, ...]:
        """The features of all tasks and rows, in their order, each once."""
        by_modality = [*(t.features for t in self.tasks), *(r.features for r in self.rows)]
        return tuple(dict.fromkeys(name for features in by_modality for name in features.values()))

    def row(self, name: str) -> TableRow:
        """A row by its printed name.

        Raises:
            UnknownNameError: No row of this name; lists the rows that can be run.
        """
        for row in self.rows:
            if row.name == name:
                return row
        raise UnknownNameError(f"row of {self.name}", name, [r.name for r in self.rows if not r.cited])


def names() -> list[str]:
    """The names of all tables, sorted."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.toml"))


@cache
def load(name: str) -> Table:
    """A table by name.

    Raises:
        UnknownNameError: No table of this name; lists all.
        UsageError: Mistakes in the file; lists all.
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
    "mean": {"of": [str], "metrics": {str: str}},
    "rows": [_SCALAR | {"set": [str], "features": {str: str}, "tasks": [str], "published": {str: {str: float}}}],
}
_NEEDED = ("paper", "where", "about", "unit", "tasks", "rows")


def parse(name: str, raw: Mapping[str, Any]) -> Table:
    """Build a table from the content of its TOML file.

    Raises:
        UsageError: Lists all values of the wrong type or, if there are none, all contradictions.
    """
    missing = [f"{key!r} is missing" for key in _NEEDED if key not in raw]
    raise_problems(missing + shape_problems(dict(raw), _SHAPE), f"{name} is wrong")
    protocols = tuple(task["protocol"] for task in raw["tasks"])
    table = Table(
        name=name,
        paper=raw["paper"],
        where=raw["where"],
        about=raw["about"],
        unit=raw["unit"],
        tasks=tuple(map(_task, raw["tasks"])),
        rows=tuple(_row(row, raw.get("model", ""), protocols) for row in raw["rows"]),
        notes=tuple(raw.get("notes", ())),
        fine_tuned=tuple(raw.get("fine_tuned", ())),
        figure=_figure(raw["figure"]) if "figure" in raw else None,
        mean=_mean(raw["mean"]) if "mean" in raw else None,
    )
    raise_problems(_contradictions(table), f"{name} is wrong")
    return table


def _task(raw: Mapping[str, Any]) -> TableTask:
    return TableTask(
        protocol=raw["protocol"],
        metrics=raw["metrics"],
        features=raw.get("features", {}),
        select=raw.get("select", "validation"),
    )


def _mean(raw: Mapping[str, Any]) -> TableTask:
    return TableTask(
        protocol=MEAN, metrics=raw.get("metrics", {}), features={}, select="", mean_of=tuple(raw.get("of", ()))
    )


def _row(raw: Mapping[str, Any], model: str, protocols: tuple[str, ...]) -> TableRow:
    """A row; `model` and `protocols` are the table's, for rows that name none."""
    return TableRow(
        name=raw["name"],
        model=raw.get("model", model),
        ablation=raw.get("ablation"),
        settings=tuple(raw.get("set", ())),
        features=raw.get("features", {}),
        without=raw.get("without"),
        tasks=tuple(raw.get("tasks") or raw.get("published") or protocols),
        published=raw.get("published", {}),
        cited=raw.get("cited", False),
        note=raw.get("note", ""),
    )


def _figure(raw: Mapping[str, Any]) -> FigureSpec:
    return FigureSpec(kind=raw["kind"], over=raw.get("over", {}))


def _contradictions(table: Table) -> list[str]:
    problems = [] if table.unit in UNITS else [f"unit is {table.unit!r}; valid: {', '.join(UNITS)}"]
    if table.figure and table.figure.kind not in FIGURE_KINDS:
        problems.append(f"figure.kind is {table.figure.kind!r}; valid: {', '.join(FIGURE_KINDS)}")
    for task in table.blocks:
        unknown = [m for m in task.metrics.values() if m not in LABEL_METRICS and not m.startswith("recall:")]
        problems += [f"no metric named {m!r}; valid: {', '.join(LABEL_METRICS)}, recall:CLASS" for m in unknown]
    for task in table.tasks:
        if task.select not in ("validation", "last"):
            problems.append(f"select is {task.select!r}; valid: validation, last")
    counts = Counter(row.name for row in table.rows)
    problems += [f"row {name!r} occurs {n} times" for name, n in counts.items() if n > 1]
    if table.mean is not None:
        problems += _mean_contradictions(table.mean, table.tasks)
    columns = {t.protocol: set(t.metrics) for t in table.blocks}
    return problems + [line for row in table.rows for line in _row_contradictions(row, columns)]


def _mean_contradictions(mean: TableTask, tasks: Sequence[TableTask]) -> list[str]:
    measures = {t.protocol: set(t.metrics.values()) for t in tasks}
    problems = [f"mean.of has {p!r}, which is not a task" for p in mean.mean_of if p not in measures]
    problems += [] if len(mean.mean_of) > 1 else ["mean.of: expected two tasks or more"]
    problems += [] if mean.metrics else ["mean.metrics: expected a column"]
    return problems + [
        f"mean.metrics: {protocol} has no column of {measure!r}"
        for protocol in dict.fromkeys(mean.mean_of)
        for measure in mean.metrics.values()
        if measure not in measures.get(protocol, {measure})
    ]


def _row_contradictions(row: TableRow, columns: Mapping[str, set[str]]) -> list[str]:
    """`columns`: protocol of a task -> printed names of its columns."""
    problems = [] if row.cited or row.model else [f"row {row.name!r} has no model"]
    problems += [f"row {row.name!r}: no task {t!r}" for t in row.tasks if t not in {*columns, *row.published}]
    for protocol, figures in row.published.items():
        if protocol not in columns:
            problems.append(f"row {row.name!r} has figures for {protocol!r}, which is not a task")
        else:
            problems += [f"row {row.name!r}: no column {c!r}" for c in figures if c not in columns[protocol]]
    return problems
