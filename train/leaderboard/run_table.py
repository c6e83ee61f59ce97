"""The table of a group of runs, and the cells that tables of runs have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emofuse.common.output.console import printable
from emofuse.common.page.blocks import Cell, Column, Link, Marks, PagedTable, Spark
from emofuse.common.page.columns import filled_columns
from emofuse.common.page.links import relative_link
from emofuse.train.fitting.file_names import PAGE
from emofuse.train.leaderboard.run_entry import RunEntry
from emofuse.train.leaderboard.run_group import RunGroup, metric_name
from emofuse.train.runs.reporting.caveat_marks import caveat_marks
from emofuse.train.runs.reporting.run_identity import option_texts

MOST_METRICS = 4
DIFFERS_IN = "Options in which runs of one model and features differ"


@dataclass(slots=True)
class RunCells:
    """Cells of runs on one page: their links, and their sparklines, which are collected."""

    folder: Path
    """The folder of runs: names are relative to it."""
    page_folder: Path
    """Where the page is: links are relative to it."""
    sparklines: dict[str, list[float]] = field(default_factory=dict)
    """Key of a sparkline -> its values."""

    def name(self, folder: Path) -> str:
        """What a run is called: its path below the folder."""
        return printable(folder.relative_to(self.folder).as_posix())

    def run(self, run: RunEntry) -> Cell:
        """The run's name, with a link to its page if it has one."""
        return self._linked(run, self.name(run.folder))

    def model(self, run: RunEntry) -> Cell:
        """The run's model, with the same link."""
        return self._linked(run, printable(run.model))

    def _linked(self, run: RunEntry, text: str) -> Cell:
        href = relative_link(run.folder / PAGE, self.page_folder) if run.has_page else None
        return text if href is None else Link(text=text, href=href)

    def folds(self, run: RunEntry, metric: str) -> Cell:
        """A sparkline of the scores of the folds."""
        scores = {n: value for n, fold in run.folds.items() if (value := fold.get(metric)) is not None}
        if not scores:
            return None
        key = str(len(self.sparklines))
        self.sparklines[key] = [*scores.values()]
        listed = ", ".join(f"{number} {value:.3f}" for number, value in scores.items())
        name = metric_name(metric)
        values = {f"{name} of fold {number}": round(value, 6) for number, value in scores.items()}
        return Spark(key=key, alt=f"{name} by fold: {listed}", values=values)


def group_table(group: RunGroup, cells: RunCells, name: str) -> PagedTable:
    """All runs of a group, the best one first."""
    ranks = {id(run): rank for rank, run in zip(group.ranks, group.ranked, strict=True)}
    runs, name_of = group.runs, metric_name(group.metric)
    columns, rows = filled_columns(
        [
            (Column(name="Model", filter=True, help="Leads to the page of the run"), [*map(cells.model, runs)]),
            (Column(name="Run", below=True, help="Its folder"), [*map(cells.run, runs)]),
            (Column(name="Rank", help="Sanity runs have none"), [ranks.get(id(run)) for run in runs]),
            *_scores(group, cells),
            (Column(name="Features", filter=True), [printable(run.features) for run in runs]),
            (Column(name="Differs in", below=True, help=DIFFERS_IN), distinct_options(runs)),
            (Column(name="Trained on", filter=True), [_trained_on(run) for run in runs]),
            (Column(name="Marks", filter=True, help="What to know before believing a score; explained under Notes"),
             [*map(marks_cell, runs)]),
            (Column(name="Seeds", once=True), [run.seeds for run in runs]),
            (Column(name="Number of folds", once=True), [len(run.identity["folds"]) for run in runs]),
            (Column(name="Parameters", secondary=True, help="Of the model of one fold"), [r.parameters for r in runs]),
            (Column(name="Minutes", decimals=1, below=True, help="Training time of all folds and seeds"),
             [*map(minutes, runs)]),
            (Column(name="Date (UTC)", secondary=True), [*map(date, runs)]),
        ]
    )  # fmt: skip
    return PagedTable(
        name=name,
        title="Runs, best first",
        columns=columns,
        rows=rows,
        caption=f"Scores of all test predictions together (with several seeds the mean over seeds), ranked by "
        f"{name_of}. A bar of “Folds” is the {name_of} of a fold, all bars of the page on one scale that begins at 0.",
    )


def _scores(group: RunGroup, cells: RunCells) -> list[tuple[Column, list[Cell]]]:
    """The metric of the ranking with its uncertainty, the other metrics, and the folds."""
    runs, metric, name = group.runs, group.metric, metric_name(group.metric)
    others: list[tuple[Column, list[Cell]]] = [
        (Column(name=metric_name(other), decimals=3), [run.score(other) for run in runs])
        for other in group.metrics[:MOST_METRICS]
        if other != metric
    ]
    interval = Column(
        name="95 % interval", below=True, help=f"Of {name}; a bootstrap over the units that the run names"
    )
    deviation = Column(name="± seeds", decimals=3, below=True, help=f"Standard deviation of {name} over seeds")
    return [
        (Column(name=name, decimals=3, filter=True), [run.score(metric) for run in runs]),
        (interval, [interval_text(run, metric) for run in runs]),
        (deviation, [seed_deviation(run, metric) for run in runs]),
        *others,
        (
            Column(name="Folds", help=f"{name} of each fold, with several seeds the mean"),
            [cells.folds(run, metric) for run in runs],
        ),
    ]


def _trained_on(run: RunEntry) -> str:
    """What an evaluated run was trained on."""
    return printable(run.metrics["evaluation"]["trained_on"]) if "evaluation" in run.metrics else ""


def interval_text(run: RunEntry, metric: str) -> str:
    """`0.593–0.701`, empty where there is no interval."""
    interval = run.interval(metric)
    return f"{interval[0]:.3f}–{interval[1]:.3f}" if interval else ""


def seed_deviation(run: RunEntry, metric: str) -> float | None:
    """The deviation over seeds, with several seeds."""
    value: float | None = run.metrics.get("pooled_std", {}).get(metric)
    return value


def marks_cell(run: RunEntry) -> Marks | None:
    """The marks of a run."""
    marks = caveat_marks(run.metrics)
    return Marks(names=marks) if marks else None


def minutes(run: RunEntry) -> float | None:
    """The training time."""
    seconds = run.metrics.get("wall_seconds")
    return None if seconds is None else seconds / 60


def date(run: RunEntry) -> str:
    """When the last call began, to the minute."""
    return printable(run.started[:16].replace("T", " "))


def distinct_options(runs: Sequence[RunEntry]) -> list[str]:
    """For each run, the options in which it differs from others of the same model and features."""
    kinds, texts = [(run.model, run.features) for run in runs], [option_texts(run.identity) for run in runs]
    same: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for kind, options in zip(kinds, texts, strict=True):
        same.setdefault(kind, []).append(options)
    differing = {
        kind: {key for key in set().union(*others) if len({options.get(key) for options in others}) > 1}
        for kind, others in same.items()
    }
    return [
        printable(", ".join(text for key, text in options.items() if key in differing[kind]))
        for kind, options in zip(kinds, texts, strict=True)
    ]
