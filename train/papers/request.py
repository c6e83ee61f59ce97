"""One call of `reproduce`: which table, from which stores, and how far from the paper's own conditions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emofuse.common.errors import UnknownNameError, UsageError, complain
from emofuse.common.location import Location
from emofuse.train.models.registry import variant
from emofuse.train.papers.table import Table, TableRow, TableTask


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRequest:
    """What is asked."""

    table: Table
    stores: tuple[Location, ...]
    only: tuple[str, ...] = ()
    """Rows, by name; empty: all."""
    substitute: Mapping[str, str] = field(default_factory=dict)
    """The table's feature or protocol -> what stands in for it."""
    folds: str = "all"
    seeds: int = 1
    steps: int | None = None
    epochs: float | None = None
    limit: int | None = None
    allow_missing: int = 0
    device: str = "auto"
    threads: int | None = None
    jobs: int | None = 1
    scheduler: str | None = None
    runs: Path = Path("runs")

    def stand_in(self, name: str) -> str:
        """What is taken for a feature or protocol of the table."""
        return self.substitute.get(name, name)

    def marks(self) -> list[str]:
        """How far this is from the paper's own run, one phrase each; empty where it is not."""
        short = {"--steps": self.steps, "--epochs": self.epochs, "--limit": self.limit}
        found = [f"short run ({option} {value:g})" for option, value in short.items() if value is not None]
        found += [] if self.folds == "all" else [f"folds {self.folds} alone"]
        return found + [f"{mine} stands in for {theirs}" for theirs, mine in sorted(self.substitute.items())]

    def rows(self) -> list[TableRow]:
        """The rows to run, in the table's order.

        Raises:
            UsageError: Unknown rows, or rows that are only cited.
        """
        asked = {self.table.row(name).name for name in self.only}
        cited = [r.name for r in self.table.rows if r.cited and r.name in asked]
        if cited:
            raise UsageError(f"{', '.join(cited)}: another system's figures, cited and not run")
        return [r for r in self.table.rows if not r.cited and (not asked or r.name in asked)]

    def check_words(self, rows: Sequence[TableRow]) -> None:
        """Refuse what `--substitute` names in vain.

        Raises:
            UsageError: A word that the table does not have, that these rows do not use, or that stands in for itself.
        """
        table, used = self.table, set(_used(self.table, rows))
        every = {*table.features, *(t.protocol for t in table.tasks)}
        for word in self.substitute:
            if word not in every:
                raise UnknownNameError(f"feature or protocol of {table.name}", word, every, "As --substitute OLD=NEW.")
        told = [f"{old}={new}: without effect" for old, new in self.substitute.items() if old == new]
        told += [f"{old}={new}: no row to run needs {old}" for old, new in self.substitute.items() if old not in used]
        complain(told, "--substitute")


def _used(table: Table, rows: Sequence[TableRow]) -> Iterable[str]:
    for row in rows:
        for task in table.tasks:
            if task.protocol in row.tasks:
                yield task.protocol
                yield from features_of(row, task).values()


def features_of(row: TableRow, task: TableTask) -> dict[str, str]:
    """Modality -> the table's own feature, for what the row's model reads."""
    reads = variant(row.model, row.ablation)[2].modalities
    return {m: name for m, name in {**task.features, **row.features}.items() if m in reads}


def pairs(text: str | None) -> dict[str, str]:
    """`OLD=NEW,OLD=NEW` as a mapping.

    Raises:
        UsageError: Parts that are no pair, or a word that is given twice.
    """
    parts = [part.strip() for part in text.split(",")] if text else []
    found = [tuple(part.split("=")) for part in parts]
    told = [f"{part!r}" for part, pair in zip(parts, found, strict=True) if len(pair) != 2 or "" in pair]
    if told:
        raise UsageError(f"--substitute {', '.join(told)}: expected OLD=NEW, several separated by commas")
    old = [pair[0] for pair in found]
    complain([f"{word} is given twice" for word in dict.fromkeys(old) if old.count(word) > 1], "--substitute")
    return {pair[0]: pair[1] for pair in found}
