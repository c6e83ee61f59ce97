"""Training and validation curves, with the selected steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from emofuse.common.charts.lines import Line, lines
from emofuse.common.charts.palette import group_colours
from emofuse.common.page.blocks import Chart, Section
from emofuse.manifests.metrics.scores import short_name
from emofuse.train.runs.page.record import Rows, RunRecord
from emofuse.train.runs.reporting.score_text import score

MOST_COLOURS = 10
"""With more folds, all have one colour."""
Best = Callable[[list[float]], float]
"""The best of the values of a curve."""
Key = tuple[str, str]
"""Seed (empty, if there is one) and fold."""


def learning_sections(record: RunRecord) -> list[Section]:
    """The curves of loss and of the selecting metric; none for an evaluation."""
    trainings: dict[Key, list[Mapping[str, str]]] = {}
    for row in record.history:
        trainings.setdefault((row.get("seed", ""), row["fold"]), []).append(row)
    if not trainings:
        return []
    name, metric = short_name(record.headline_metric), f"validation_{record.headline_metric}"
    shown = [
        _chart(record, trainings, metric, f"{name} on validation", name, max),
        _chart(record, trainings, "validation_loss", "Loss on validation", "loss", min),
        _chart(record, trainings, "train_loss", "Loss on training", "loss", min),
    ]
    lines = "One line for each fold" if record.has_folds else "A line"
    seeds = f": the mean over {record.seeds} seeds, each of which is a thin line" if record.seeds > 1 else ""
    best = f": the one of the best {name} on validation" if any(row.get(metric) for row in record.history) else ""
    lead = f"{lines}{seeds}. A ring marks the chosen step{' of a seed' if seeds else ''}{best}."
    return [Section(name="learning", title="Learning", lead=lead, blocks=[chart for chart in shown if chart])]


def _chart(
    record: RunRecord, trainings: Mapping[Key, Rows], column: str, title: str, label: str, best: Best
) -> Chart | None:
    """The curves of one column of history.csv; None where it has no values."""
    found = [values for rows in trainings.values() if (values := [float(r[column]) for r in rows if r.get(column)])]
    if not found:
        return None
    ends = [best(values) for values in found]
    return Chart(
        name=column.replace("_", "-"),
        title=title,
        alt=f"{title} by step of {len(found)} trainings; at best {score(min(ends))} to {score(max(ends))}.",
        drawing=lines(_curves(trainings, column, _chosen_steps(record)), "step", label),
    )


def _curves(trainings: Mapping[Key, Rows], column: str, chosen: Mapping[Key, int]) -> list[Line]:
    """A line for each fold; of several seeds it is their mean, and each seed has a thin line below it."""
    folds = list(dict.fromkeys(fold for _, fold in trainings))
    several = len(trainings) > len(folds)
    colours = group_colours(folds) if len(folds) <= MOST_COLOURS else {}
    thin, means = list[Line](), list[Line]()
    for fold in folds:
        name = f"fold {fold}" if 1 < len(folds) <= MOST_COLOURS else ""
        curves = {
            key: {int(row["step"]): float(row[column]) for row in rows if row.get(column)}
            for key, rows in trainings.items()
            if key[1] == fold
        }
        for key, curve in curves.items():
            steps = list(curve)
            at = chosen.get(key)
            thin.append(
                Line(
                    name="" if several else name,
                    x=steps,
                    y=list(curve.values()),
                    colour=colours.get(fold),
                    width=0.6 if several else 1.4,
                    alpha=0.5 if several else 0.9,
                    chosen=[steps.index(at)] if at in steps else [],
                )
            )
        if several:  # where a seed has stopped early, the mean ends: it would jump
            common = sorted(set.intersection(*(set(curve) for curve in curves.values())))
            mean = [sum(curve[step] for curve in curves.values()) / len(curves) for step in common]
            means.append(Line(name=name, x=common, y=mean, colour=colours.get(fold)))
    return thin + means


def _chosen_steps(record: RunRecord) -> dict[Key, int]:
    several = record.seeds > 1
    return {
        (str(seed) if several else "", str(fold["fold"])): fold["step"]
        for seed, metrics in record.seed_metrics.items()
        for fold in metrics["folds"]
    }
