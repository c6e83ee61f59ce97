"""The tables of a comparison, for pages and Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from emofuse.common.page.blocks import Cell, Column, Table
from emofuse.manifests.metrics.scores import short_name
from emofuse.train.comparison.comparison import Comparison, PairComparison
from emofuse.train.comparison.score_difference import is_raw
from emofuse.train.runs.reporting.score_text import small_p

PAIR_HELP = {
    "difference": "In points, the first run minus the second.",
    "95 %": "Percentile bootstrap of the difference.",
    "p": "Paired permutation test of whole units.",
    "Holm p": "The same, corrected over the pairs; this one decides.",
    "d": "Cohen's d of paired samples, over units.",
    "t p": "Corrected resampled t test over folds and seeds.",
}
"""Columns of the table of pairs -> what they are."""
NOTHING_DIFFERS = "The runs differ in no setting that they have recorded."


def points(value: float) -> str:
    """A difference in 0..1 as signed points: `+2.1`."""
    return f"{100 * value:+.1f}"


def signed(metric: str, value: float) -> str:
    """A difference with its sign, in points or in the unit of the metric: `+2.1`, `-0.034`."""
    return f"{value:+.3f}" if is_raw(metric) else points(value)


def points_interval(interval: tuple[float, float]) -> str:
    """Such as `-1.2 to +2.3`."""
    return " to ".join(map(points, interval))


def pair_title(pair: PairComparison) -> str:
    """Such as `smcn - concat`."""
    return f"{pair.first} - {pair.second}"


def runs_table(comparison: Comparison) -> Table:
    """The score of each run in each metric."""
    return Table(
        name="runs",
        title="Scores",
        columns=[
            Column(name="run"),
            *(Column(name=short_name(m), decimals=3) for m in comparison.metrics),
            Column(name="seeds"),
        ],
        rows=[[run.name, *(run.scores[m] for m in comparison.metrics), len(run.seeds)] for run in comparison.runs],
    )


def differing_settings(comparison: Comparison) -> dict[str, list[str]]:
    """Name of a setting -> its value in each run, of those in which runs differ.

    Where the encoders of a modality differ, all details of its features (such as `audio.layers`) are left out.
    """
    values = {name: [run.settings.get(name, "-") for run in comparison.runs] for name in _setting_names(comparison)}
    differing = {name: found for name, found in values.items() if len(set(found)) > 1}
    return {name: found for name, found in differing.items() if f"{name.partition('.')[0]} encoder" not in differing}


def _setting_names(comparison: Comparison) -> list[str]:
    """The settings of all runs; one that the first run does not have stands where the other run has it."""
    names: list[str] = []
    for run in comparison.runs:
        place = 0
        for name in run.settings:
            if name not in names:
                names.insert(place, name)
            place = names.index(name) + 1
    return names


def equal_settings(comparison: Comparison) -> dict[str, str]:
    """Name -> value of the settings that are the same in all runs."""
    first, *others = (run.settings for run in comparison.runs)
    return {name: value for name, value in first.items() if all(run.get(name) == value for run in others)}


def settings_table(comparison: Comparison, names: Sequence[str] | None = None) -> Table:
    """What differs between the runs, which are columns with the given names."""
    names = names or [run.name for run in comparison.runs]
    return Table(
        name="settings",
        title="What differs between the runs",
        columns=[Column(name="setting"), *(Column(name=name) for name in names)],
        rows=[[name, *values] for name, values in differing_settings(comparison).items()],
    )


def pairs_table(comparison: Comparison, title: Callable[[PairComparison], str] = pair_title) -> Table:
    """Every test of each pair in each metric."""
    rows: list[list[Cell]] = []
    for pair in comparison.pairs:
        for metric in comparison.metrics:
            rows.append([title(pair), short_name(metric), *_pair_cells(pair, metric)])
    return Table(
        name="pairs",
        title="Differences, first minus second",
        columns=[
            Column(name="pair"),
            Column(name="metric"),
            *(Column(name=name, help=text) for name, text in PAIR_HELP.items()),
        ],
        rows=rows,
    )


def has_mcnemar(comparison: Comparison) -> bool:
    """Whether the runs predict one class an utterance, which McNemar's test needs."""
    return all(pair.mcnemar is not None for pair in comparison.pairs)


def mcnemar_table(comparison: Comparison, title: Callable[[PairComparison], str] = pair_title) -> Table:
    """McNemar's test of each pair."""
    return Table(
        name="mcnemar",
        title="McNemar's test: utterances that only one run has right",
        columns=[Column(name=name) for name in ("pair", "first only", "second only", "odds ratio", "p")],
        rows=[[title(pair), *_mcnemar_cells(pair)] for pair in comparison.pairs],
    )


def _pair_cells(pair: PairComparison, metric: str) -> list[Cell]:
    found = pair.differences[metric]
    effect = "-" if found.effect is None else f"{found.effect:+.2f}"
    t = "-" if found.t is None else small_p(found.t.p)
    return [
        signed(metric, found.value),
        " to ".join(signed(metric, bound) for bound in found.interval),
        small_p(found.p),
        small_p(found.corrected_p),
        effect,
        t,
    ]


def _mcnemar_cells(pair: PairComparison) -> list[Cell]:
    test = pair.mcnemar
    if test is None:
        return ["-", "-", "-", "-"]
    ratio = "-" if test.odds_ratio is None else f"{test.odds_ratio:.2f}"
    return [test.only_first, test.only_second, ratio, small_p(test.p)]
