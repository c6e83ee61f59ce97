"""Who the model is worse for: its score within each speaker, session and gender."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.charts.intervals import Bar, intervals
from emofuse.common.output.console import plural
from emofuse.common.page.blocks import Chart, Column, Details, PagedTable, Section
from emofuse.manifests.metrics.class_scores import GROUPS, SMALLEST_GROUP
from emofuse.manifests.metrics.resampling import UTTERANCE, named_units
from emofuse.manifests.metrics.scores import LABEL_METRICS, RESAMPLES, confusion, scores_of, short_name
from emofuse.manifests.metrics.scores import intervals as score_intervals
from emofuse.train.runs.page.record import RunRecord
from emofuse.train.runs.reporting.majority_score import majority_score
from emofuse.train.runs.reporting.score_text import score

MOST_GROUPS = 30
"""How many groups a chart shows: those with the most utterances."""
TOO_SMALL = "#8c8c8c"
"""The colour of groups that are too small to judge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupScore:
    """The scores of one group, the mean over seeds."""

    name: str
    utterances: int
    values: Mapping[str, float]
    """Each of `LABEL_METRICS`."""
    interval: tuple[float, float] | None
    """Of the shown metric; None for a group that is too small to judge."""

    @property
    def is_small(self) -> bool:
        """Whether its score is mostly chance."""
        return self.utterances < SMALLEST_GROUP


def groups_sections(record: RunRecord) -> list[Section]:
    """The section of groups; none where nothing is known."""
    metric = record.headline_metric if record.headline_metric in LABEL_METRICS else "ua"
    found = {kind: group_scores(record, kind, metric) for kind in GROUPS if kind in record.metrics.get("groups", {})}
    blocks: list[Any] = [_chart(record, kind, groups, metric) for kind, groups in found.items() if len(groups) > 1]
    if not blocks:
        return []
    blocks.append(Details(title="All groups as tables", blocks=[_table(k, g, metric) for k, g in found.items()]))
    lead = (
        f"{short_name(metric)} within each group, over the classes that the group has, with its 95 % interval "
        f"({RESAMPLES} resamples of its utterances). The dashed line is the score of the most frequent class."
    )
    return [Section(name="groups", title="Speakers and groups", lead=lead, blocks=blocks)]


def group_scores(record: RunRecord, kind: str, metric: str) -> list[GroupScore]:
    """The scores of the groups, best first; those that are too small to judge come last.

    Args:
        kind: A column of utterances.csv.
        metric: The one that has intervals, and that sorts.
    """
    group_of = {row["id"]: row.get(kind, "") for row in record.utterances}
    by_seed: dict[str, dict[str, tuple[int, int]]] = {}
    number = {name: i for i, name in enumerate(record.metrics["classes"])}
    for row in record.predictions:
        by_seed.setdefault(row.get("seed", ""), {})[row["id"]] = number[row["label"]], number[row["prediction"]]
    ids = list(next(iter(by_seed.values())))
    pairs = np.array([[of_seed[id] for id in ids] for of_seed in by_seed.values()])
    groups = np.array([group_of.get(id, "") for id in ids])
    found = [
        _group_score(name, pairs[:, groups == name], len(number), metric)
        for name in sorted(set(groups.tolist()) - {""})
    ]
    return sorted(found, key=lambda group: (group.is_small, -group.values[metric]))


def _group_score(name: str, pairs: NDArray[np.int64], classes: int, metric: str) -> GroupScore:
    """The scores of labels and predictions [S, n, 2]."""
    labels, predicted = pairs[0, :, 0], pairs[:, :, 1]
    each = scores_of(np.array([confusion(labels, of_seed, classes) for of_seed in predicted]))
    small = len(labels) < SMALLEST_GROUP
    units = named_units(range(len(labels)), UTTERANCE)
    return GroupScore(
        name=name,
        utterances=len(labels),
        values={key: float(values.mean()) for key, values in each.items()},
        interval=None if small else score_intervals(labels, predicted, classes, units)[metric],
    )


def _worst(groups: Sequence[GroupScore], metric: str) -> GroupScore | None:
    """The lowest of at least two that can be judged."""
    judged = [group for group in groups if not group.is_small]
    return min(judged, key=lambda group: group.values[metric]) if len(judged) > 1 else None


def _is_below(group: GroupScore, whole: float) -> bool:
    """Whether a group is worse than all test utterances beyond what its size explains."""
    return group.interval is not None and group.interval[1] < whole


def _worst_line(kind: str, count: int, worst: GroupScore, metric: str, whole: float) -> str:
    """The group with the lowest score, with what tells whether that may be chance."""
    assert worst.interval is not None
    low, high = worst.interval
    found = f"n {worst.utterances}, interval {score(low)} to {score(high)}"
    line = f"The lowest of all {plural(count, kind)} is {worst.name} with {score(worst.values[metric])} ({found})"
    if _is_below(worst, whole):
        return f"{line}."
    return f"{line}; the score of all utterances, {score(whole)}, is not above that interval: it may be chance."


def _chart(record: RunRecord, kind: str, groups: Sequence[GroupScore], metric: str) -> Chart:
    name, worst, whole = short_name(metric), _worst(groups, metric), record.metrics["pooled"][metric]
    largest = sorted(groups, key=lambda group: -group.utterances)[:MOST_GROUPS]
    shown = [group for group in groups if group in largest or group is worst]
    rows = [_bar(group, metric, marked=group is worst) for group in shown]
    small = [group for group in shown if group.is_small]
    captions = (
        [f"Drawn are the {MOST_GROUPS} with the most utterances, of {len(groups)}."]
        if len(groups) > MOST_GROUPS
        else []
    )
    judged = sum(1 for group in groups if not group.is_small)
    captions += [_worst_line(kind, judged, worst, metric, whole)] if worst else []
    if small:
        captions.append(f"Too small to judge, in grey: {plural(len(small), kind)} of fewer than ten utterances.")
    ends = f"{score(max(row.value for row in rows))} to {score(min(row.value for row in rows))}"
    return Chart(
        name=f"by-{kind}",
        title=f"{name} by {kind}",
        alt=f"{name} of {plural(len(groups), kind)}, {ends}. {' '.join(captions)}",
        caption=" ".join(captions),
        drawing=intervals(
            rows, name, reference=majority_score(record.metrics["confusion"], metric), limits=(-0.03, 1.03)
        ),
    )


def _bar(group: GroupScore, metric: str, *, marked: bool) -> Bar:
    low, high = group.interval or (None, None)
    return Bar(
        name=group.name,
        value=group.values[metric],
        low=low,
        high=high,
        marked=marked,
        colour=TOO_SMALL if group.is_small else None,
        note=f"n {group.utterances}",
    )


def _table(kind: str, groups: Sequence[GroupScore], metric: str) -> PagedTable:
    others = [name for name in ("ua", "wa") if name != metric]
    columns = [
        Column(name=kind),
        Column(name="n", help="Test utterances"),
        Column(name=short_name(metric), decimals=3),
        Column(name="95 % interval", help=f"{RESAMPLES} resamples of the utterances; none of fewer than ten"),
        *(Column(name=short_name(name), decimals=3) for name in others),
    ]
    rows = [
        [
            group.name,
            group.utterances,
            round(group.values[metric], 4),
            f"{group.interval[0]:.3f}–{group.interval[1]:.3f}" if group.interval else None,
            *(round(group.values[name], 4) for name in others),
        ]
        for group in groups
    ]
    return PagedTable(name=f"groups-{kind}", title=f"By {kind}", columns=columns, rows=rows)
