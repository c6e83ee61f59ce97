"""One call of `reproduce`: the table, the stores, and the differences from the paper's own conditions."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emofuse.common.errors import UnknownNameError, UsageError, raise_problems
from emofuse.common.location import Location
from emofuse.common.output.formats import PictureFormat
from emofuse.train.models.registry import variant
from emofuse.train.papers.published_table import Table, TableRow, TableTask


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRequest:
    """The options of a call."""

    table: Table
    stores: tuple[Location, ...]
    only: tuple[str, ...] = ()
    """Names of the rows to run; empty means all."""
    substitute: Mapping[str, str] = field(default_factory=dict)
    """A feature or protocol of the table -> its substitute."""
    folds: str = "all"
    seeds: int = 1
    steps: int | None = None
    epochs: float | None = None
    limit: int | None = None
    allow_missing: int = 0
    allow_duplicates: bool = False
    device: str = "auto"
    threads: int | None = None
    jobs: int | None = 1
    scheduler: str | None = None
    runs: Path = Path("runs")
    formats: tuple[PictureFormat, ...] = ("png",)
    """Of the figure, for a table that draws one."""

    def substituted(self, name: str) -> str:
        """The feature or protocol to use for one of the table."""
        return self.substitute.get(name, name)

    def marks(self) -> list[str]:
        """The differences from the paper's own conditions, one phrase each.

        The phrases are part of the digest in the name of the table's folder, so their wording must not change.
        """
        limits = {"--steps": self.steps, "--epochs": self.epochs, "--limit": self.limit}
        marks = [f"short run ({option} {value:g})" for option, value in limits.items() if value is not None]
        marks += [] if self.folds == "all" else [f"folds {self.folds} alone"]
        return marks + [f"{new} is used instead of {old}" for old, new in sorted(self.substitute.items())]

    def command(self) -> str:
        """The command with the options that change the table."""
        options: list[tuple[str, object]] = [("--store", store) for store in self.stores]
        options += [("--only", name) for name in self.only]
        single = {
            "--substitute": ",".join(f"{old}={new}" for old, new in self.substitute.items()) or None,
            "--folds": None if self.folds == "all" else self.folds,
            "--seeds": None if self.seeds == 1 else self.seeds,
            "--steps": self.steps,
            "--epochs": None if self.epochs is None else f"{self.epochs:g}",
            "--limit": self.limit,
            "--allow-missing": self.allow_missing or None,
            "--device": None if self.device == "auto" else self.device,
            "--out": None if self.runs == Path("runs") else self.runs,
        }
        options += [(name, value) for name, value in single.items() if value is not None]
        words = [str(word) for option in options for word in option]
        flags = ["--allow-duplicates"] if self.allow_duplicates else []
        return shlex.join(["emofuse", "reproduce", self.table.name, *words, *flags])

    def rows(self) -> list[TableRow]:
        """The rows to run, in the table's order.

        Raises:
            UsageError: Unknown rows, or cited ones.
        """
        chosen = {self.table.row(name).name for name in self.only}
        cited = [r.name for r in self.table.rows if r.cited and r.name in chosen]
        if cited:
            raise UsageError(f"{', '.join(cited)}: another system's figures, cited and not run")
        return [r for r in self.table.rows if not r.cited and (not chosen or r.name in chosen)]

    def check_substitutes(self, rows: Sequence[TableRow]) -> None:
        """Refuse substitutes without effect.

        Raises:
            UsageError: A name that is not in the table, that `rows` do not use, or that is its own substitute.
        """
        table, used = self.table, set(_names_used(self.table, rows))
        known = {*table.features, *(t.protocol for t in table.tasks)}
        for name in self.substitute:
            if name not in known:
                raise UnknownNameError(f"feature or protocol of {table.name}", name, known, "As --substitute OLD=NEW.")
        problems = [f"{old}={new}: without effect" for old, new in self.substitute.items() if old == new]
        problems += [f"{o}={new}: no row to run needs {o}" for o, new in self.substitute.items() if o not in used]
        raise_problems(problems, "--substitute")


def _names_used(table: Table, rows: Sequence[TableRow]) -> Iterable[str]:
    """The protocols and features of rows."""
    for row in rows:
        for task in table.tasks:
            if task.protocol in row.tasks:
                yield task.protocol
                yield from features_of(row, task).values()


def features_of(row: TableRow, task: TableTask) -> dict[str, str]:
    """Modality -> the table's feature, for the modalities that the row's model reads."""
    modalities = variant(row.model, row.ablation)[2].modalities
    return {m: name for m, name in {**task.features, **row.features}.items() if m in modalities}


def parse_substitutes(text: str | None) -> dict[str, str]:
    """`OLD=NEW,OLD=NEW` as a mapping; None is an empty one.

    Raises:
        UsageError: Items that are not OLD=NEW, or a name that is given twice.
    """
    items = [item.strip() for item in text.split(",")] if text else []
    pairs = [tuple(item.split("=")) for item in items]
    wrong = [f"{item!r}" for item, pair in zip(items, pairs, strict=True) if len(pair) != 2 or "" in pair]
    if wrong:
        raise UsageError(f"--substitute {', '.join(wrong)}: expected OLD=NEW, several separated by commas")
    old = [pair[0] for pair in pairs]
    raise_problems([f"{name} is given twice" for name in dict.fromkeys(old) if old.count(name) > 1], "--substitute")
    return {pair[0]: pair[1] for pair in pairs}
