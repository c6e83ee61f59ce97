"""The sections around the groups: what the folder holds, runs that stand alone, what was not read, and notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from emofuse.common.output.console import plural, printable
from emofuse.common.page.blocks import Cell, Column, Facts, Link, PagedTable, Section, Table, Text, Warnings
from emofuse.manifests.metrics.resampling import narrow_interval
from emofuse.train.leaderboard.group_section import section_name
from emofuse.train.leaderboard.run_entry import RunEntry
from emofuse.train.leaderboard.run_folders import DEEPEST, Unread
from emofuse.train.leaderboard.run_group import RunGroup, corpus_name, metric_name
from emofuse.train.leaderboard.run_table import (
    RunCells,
    date,
    distinct_options,
    interval_text,
    marks_cell,
    seed_deviation,
)
from emofuse.train.runs.reporting.caveat_marks import MEANINGS, caveat_marks
from emofuse.train.runs.reporting.caveats import caveats

NOT_A_TEST = (
    "A ranking is not a test: runs with close scores may differ by chance alone. The command emofuse compare tests "
    "whether two runs differ; each group has it for its best two."
)
BEST_OF_MANY = (
    "The best of many runs was chosen by its test score, so it is partly luck: choose by validation scores, and "
    "report how many runs were tried."
)
NOT_MIXED = (
    "Runs are ranked only among runs of the same task, tested on the same utterances. Runs of some utterances "
    "(--limit), runs of some folds and evaluations form groups of their own."
)
NOT_CHECKED = (
    "To be quick, this page reads scores as the runs recorded them: it recomputes nothing and checks no digests. "
    "The command emofuse verify checks a run."
)


def overview_section(groups: Sequence[RunGroup], alone: Sequence[RunGroup], unread: Sequence[Unread]) -> Section:
    """How much there is, the groups, what is wrong with runs, and how to read a ranking."""
    runs = [run for group in (*groups, *alone) for run in group.runs]
    facts = [
        ("Runs", str(len(runs))),
        ("Groups", str(len(groups))),
        ("Runs that stand alone", str(len(alone))),
        ("Models", str(len({run.model for run in runs}))),
        ("Features", str(len({run.features for run in runs}))),
        ("Corpora", str(len({corpus_name(run) for run in runs}))),
        ("Not listed", str(len(unread))),
    ]
    wrong = [*_marked(runs), *_not_listed(unread)]
    blocks = [
        *([Warnings(lines=wrong)] if wrong else []),
        Facts(facts=facts),
        *([_group_table(groups)] if groups else []),
        Text(lines=[BEST_OF_MANY, NOT_MIXED, NOT_CHECKED]),
    ]
    return Section(name="overview", title="Overview", lead=NOT_A_TEST, blocks=blocks)


def _marked(runs: Sequence[RunEntry]) -> list[str]:
    """How many runs have a mark, and which."""
    marks = [caveat_marks(run.metrics) for run in runs]
    counts = Counter(mark for of_run in marks for mark in of_run)
    marked = sum(map(bool, marks))
    if not marked:
        return []
    listed = ", ".join(f"{mark} {count}" for mark, count in counts.most_common())
    return [f"Marked: {marked} of {plural(len(runs), 'run')} ({listed}). The notes say what the marks mean."]


def _not_listed(unread: Sequence[Unread]) -> list[str]:
    counts = Counter(one.state for one in unread)
    listed = ", ".join(f"{state} {count}" for state, count in counts.most_common())
    return [f"Not listed: {plural(len(unread), 'folder')} ({listed}), named below with the reasons."] if unread else []


def _group_table(groups: Sequence[RunGroup]) -> PagedTable:
    rows: list[list[Cell]] = []
    for number, group in enumerate(groups, 1):
        best = group.ranked[0] if group.ranked else None
        rows.append(
            [
                Link(text=f"Group {number}", href=f"#{section_name(number)}"),
                group.title,
                printable(group.corpus),
                printable(group.protocol),
                len(group.runs),
                group.first.tested,
                len(group.classes),
                printable(f"{best.model}, {best.features}") if best else "",
                metric_name(group.metric),
                best.score(group.metric) if best else None,
                interval_text(best, group.metric) if best else "",
            ]
        )
    columns = [
        Column(name="Group"),
        Column(name="Task", below=True),
        Column(name="Corpus", filter=True),
        Column(name="Protocol", filter=True),
        Column(name="Runs"),
        Column(name="Test utterances"),
        Column(name="Classes"),
        Column(name="Best run"),
        Column(name="Metric", filter=True, once=True),
        Column(name="Score", decimals=3),
        Column(name="95 % interval", below=True),
    ]
    caption = "Scores of different groups cannot be compared."
    return PagedTable(name="groups", title="Groups", columns=columns, rows=rows, caption=caption)


def alone_section(alone: Sequence[RunGroup], cells: RunCells) -> Section:
    """Runs that no other run of the folder can be compared with."""
    rows: list[list[Cell]] = [
        [
            cells.run(group.first),
            printable(group.first.model),
            printable(group.first.features),
            printable(group.corpus),
            group.title,
            metric_name(group.metric),
            group.first.score(group.metric),
            interval_text(group.first, group.metric),
            seed_deviation(group.first, group.metric),
            cells.folds(group.first, group.metric),
            marks_cell(group.first),
            date(group.first),
        ]
        for group in alone
    ]
    columns = [
        Column(name="Run"),
        Column(name="Model", filter=True),
        Column(name="Features", filter=True),
        Column(name="Corpus", filter=True),
        Column(name="Task"),
        Column(name="Metric", filter=True, once=True),
        Column(name="Score", decimals=3),
        Column(name="95 % interval", below=True),
        Column(name="± seeds", decimals=3, below=True),
        Column(name="Folds"),
        Column(name="Marks", filter=True),
        Column(name="Date (UTC)", secondary=True),
    ]
    return Section(
        name="alone",
        title="Runs that stand alone",
        lead="No other run in this folder has the same task and test utterances, so these scores rank nothing.",
        blocks=[PagedTable(name="alone-runs", title="In no order", columns=columns, rows=rows)],
    )


def find_section(groups: Sequence[RunGroup], alone: Sequence[RunGroup], cells: RunCells) -> Section:
    """All runs without scores, to find one by its corpus, model or feature."""
    rows: list[list[Cell]] = []
    places = [(group, Link(text=f"Group {n}", href=f"#{section_name(n)}")) for n, group in enumerate(groups, 1)]
    places += [(group, Link(text="stands alone", href="#alone")) for group in alone]
    for group, place in places:
        for run, options in zip(group.runs, distinct_options(group.runs), strict=True):
            rows.append(
                [
                    cells.run(run), printable(run.model), printable(run.features), printable(corpus_name(run)),
                    printable(group.protocol), place, options, marks_cell(run), date(run),
                ]
            )  # fmt: skip
    columns = [
        Column(name="Run"),
        *(Column(name=name, filter=True) for name in ("Model", "Features", "Corpus", "Protocol")),
        Column(name="Group"),
        Column(name="Differs in"),
        Column(name="Marks", filter=True),
        Column(name="Date (UTC)", secondary=True),
    ]
    return Section(
        name="find",
        title="Find a run",
        blocks=[PagedTable(name="all-runs", title="All runs, without scores", columns=columns, rows=rows)],
    )


def unread_section(unread: Sequence[Unread], cells: RunCells) -> Section:
    """What looks like a run and is in no group."""
    rows = [[cells.name(one.folder), one.state, printable(one.reason, 300)] for one in unread]
    columns = [Column(name="Folder"), Column(name="State", filter=True), Column(name="Reason")]
    return Section(
        name="not-listed",
        title="Not listed",
        blocks=[
            PagedTable(name="unread", title="Folders that look like runs", columns=columns, rows=rows),
            Text(lines=["The command emofuse verify names everything that is wrong with a finished run."]),
        ],
    )


def notes_section(runs: Sequence[RunEntry], cells: RunCells) -> Section:
    """What the marks mean, and every caveat of every run in full."""
    occurring = {mark for run in runs for mark in caveat_marks(run.metrics)}
    meanings: list[list[Cell]] = [[mark, meaning] for mark, meaning in MEANINGS.items() if mark in occurring]
    rows: list[list[Cell]] = [
        [cells.run(run), printable(caveat, 400)] for run in runs for caveat in caveats(run.metrics)
    ]
    found = [
        Table(
            name="marks", title="What the marks mean", columns=[Column(name="Mark"), Column(name="Meaning")],
            rows=meanings,
        ),
        PagedTable(
            name="caveats", title="The caveats of each run", columns=[Column(name="Run"), Column(name="Caveat")],
            rows=rows,
        ),
    ]  # fmt: skip
    of_runs = [run.metrics["interval"] for run in runs if "interval" in run.metrics]
    narrow = [narrow_interval(interval["units"], interval["unit"]) for interval in of_runs]
    lines = [f"{line}." for line in dict.fromkeys(filter(None, narrow))]
    searched = f"Runs are searched in the folder and up to {plural(DEEPEST, 'folder')} below it."
    return Section(name="notes", title="Notes", blocks=[*(found if rows else []), Text(lines=[*lines, searched])])
