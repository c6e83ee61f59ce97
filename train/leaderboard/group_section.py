"""The section of one group of runs: what it is, its best runs with intervals, models by features, and its table."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

import numpy as np

from emofuse.common.charts.intervals import Bar, intervals
from emofuse.common.charts.matrix import matrix
from emofuse.common.output.console import plural, printable
from emofuse.common.page.blocks import Chart, Commands, Facts, Section
from emofuse.train.leaderboard.run_entry import RunEntry
from emofuse.train.leaderboard.run_group import RunGroup, fold_unit, folds_text, metric_name
from emofuse.train.leaderboard.run_table import RunCells, group_table

BEST_SHOWN = 15
"""Runs in the chart of a group."""
MOST_CELLS = 20
"""Models, and features, in the matrix of a group."""
CLASSES_SHOWN = 12
"""Names of classes in the sentence below a title."""


def group_section(group: RunGroup, cells: RunCells, number: int, *, charts: bool, lead: str = "") -> Section:
    """The section of a group.

    Args:
        group: At least one run.
        cells: Makes the cells of runs, and collects their sparklines.
        number: Of the group, from 1; a part of names.
        charts: Whether to draw.
        lead: A sentence below the title, after the classes.
    """
    drawn = [*_best_chart(group, number), *_matrix_chart(group, number)] if charts else []
    return Section(
        name=section_name(number),
        title=f"Group {number}: {group.title}",
        lead=" ".join(filter(None, [_classes(group), lead])),
        blocks=[_facts(group), *drawn, *_compare_command(group, number), group_table(group, cells, f"runs-{number}")],
    )


def section_name(number: int) -> str:
    """The name of a group's section, the target of links."""
    return f"group-{number}"


def _classes(group: RunGroup) -> str:
    shown = [printable(name, 24) for name in group.classes[:CLASSES_SHOWN]]
    others = len(group.classes) - len(shown)
    return f"Classes: {', '.join(shown)}{f' and {others} others' if others else ''}."


def _facts(group: RunGroup) -> Facts:
    run, name, majority = group.first, metric_name(group.metric), group.majority
    facts = [
        ("Runs", str(len(group.runs))),
        ("Protocol", printable(group.protocol)),
        ("Tested on", printable(group.corpus)),
        ("Test utterances", str(run.tested)),
        ("Held out by", printable(fold_unit(run))),
        ("Folds", folds_text(run)),
        ("Ranked by", name),
        *([(f"{name} of the most frequent class", f"{majority:.3f}")] if majority is not None else []),
        ("Classes", str(len(group.classes))),
    ]
    return Facts(facts=facts)


def _best_chart(group: RunGroup, number: int) -> list[Chart]:
    best = group.ranked[:BEST_SHOWN]
    if not best:
        return []
    name, majority = metric_name(group.metric), group.majority
    bars, said = [], []
    for rank, run in zip(group.ranks, best, strict=False):
        low, high = run.interval(group.metric) or (None, None)
        title, score = f"{rank}. {run.model}, {run.features}", run.score(group.metric) or 0.0
        bars.append(Bar(name=title, value=score, low=low, high=high, note=f"{score:.3f}"))
        said.append(f"{title} {score:.3f}" + (f" ({low:.3f} to {high:.3f})" if low is not None else ""))
    chart = Chart(
        name=f"best-{number}",
        title=f"The best {plural(len(best), 'run')} by {name}"
        if len(best) > 1
        else f"{name} of the only run with a score",
        alt=printable(f"{name} with 95 % intervals: {'; '.join(said)}", 1500),
        caption="Lines are 95 % intervals; numbers are ranks in the table"
        + (f", and the dashed line is the most frequent class, {majority:.3f}." if majority is not None else "."),
        drawing=intervals(bars, name, reference=majority),
    )
    return [chart]


def _matrix_chart(group: RunGroup, number: int) -> list[Chart]:
    """The best score of each model with each feature; none where there is only one of either."""
    best: dict[tuple[str, str], float] = {}
    for run in group.ranked:
        best.setdefault((run.model, run.features), run.score(group.metric) or 0.0)
    models = list(dict.fromkeys(model for model, _ in best))[:MOST_CELLS]
    features = list(dict.fromkeys(feature for _, feature in best))[:MOST_CELLS]
    if len(models) < 2 or len(features) < 2:
        return []
    values = np.array([[best.get((model, feature), np.nan) for feature in features] for model in models])
    texts = np.array([["" if np.isnan(value) else f"{value:.3f}" for value in row] for row in values])
    name = metric_name(group.metric)
    said = "; ".join(f"{model} with {feature} {value:.3f}" for (model, feature), value in best.items())
    low = min(group.majority or 0.0, float(np.nanmin(values)))
    chart = Chart(
        name=f"models-by-features-{number}",
        title=f"The best {name} of each model with each feature",
        alt=printable(f"{name}: {said}", 1500),
        caption="The best of all runs of that model and feature, whatever else they differ in.",
        drawing=matrix(
            values, models, features, texts=texts, scale=(low, float(np.nanmax(values))),
            axes_labels=("model", "features"),
        ),
    )  # fmt: skip
    return [chart]


def _compare_command(group: RunGroup, number: int) -> list[Commands]:
    """How to test whether the two best differ; nothing where there are not two different runs."""
    ranked = group.ranked
    best, rival = (ranked[0], _rival(ranked)) if ranked else (None, None)
    if best is None or rival is None:
        return []
    command = " ".join(["emofuse", "compare", *(_shell_word(str(run.folder)) for run in (best, rival))])
    what = "models" if rival.model != best.model else "features" if rival.features != best.features else "runs"
    title = f"Do the two best {what} differ beyond chance?"
    return [Commands(name=f"compare-{number}", title=title, commands=[command], width="narrow")]


def _shell_word(text: str) -> str:
    """A word of a command; with letters that cannot be printed as `$'...'`, which bash, zsh and ksh read."""
    if text.isprintable():
        return shlex.quote(text)
    letters = (chr(b) if 32 <= b < 127 and chr(b) not in "'\\" else f"\\x{b:02x}" for b in os.fsencode(text))
    return f"$'{''.join(letters)}'"


def _rival(ranked: Sequence[RunEntry]) -> RunEntry | None:
    """The best run with another model or other features than the best one; else the best that is not a copy of it."""
    first, *others = ranked
    differing = [run for run in others if (run.model, run.features) != (first.model, first.features)]
    return next(iter(differing), next((run for run in others if run.identity != first.identity), None))
