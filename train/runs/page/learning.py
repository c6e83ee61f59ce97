"""Training and validation curves, with the selected steps."""

from __future__ import annotations

from collections.abc import Mapping

from emofuse.common.charts.lines import Line, lines
from emofuse.common.charts.palette import group_colours
from emofuse.common.page.blocks import Chart, Section
from emofuse.manifests.metrics import short_name
from emofuse.train.runs.page.record import Rows, RunRecord
from emofuse.train.runs.reporting.score_text import score

MOST_COLOURS = 12
"""With more folds, all have one colour."""
Key = tuple[str, str]
"""Seed (empty, if there is one) and fold."""


def learning_sections(record: RunRecord) -> list[Section]:
    """The curves of loss and of the selecting metric; none for an evaluation."""
    trainings: dict[Key, list[Mapping[str, str]]] = {}
    for row in record.history:
        trainings.setdefault((row.get("seed", ""), row["fold"]), []).append(row)
    if not trainings:
        return []
    metric = f"validation_{record.headline_metric}"
    blocks = [_loss(record, trainings)]
    if any(row.get(metric) for row in record.history):
        blocks.append(_selecting(record, trainings, metric))
    kinds = [*(["fold"] if record.has_folds else []), *(["seed"] if record.seeds > 1 else [])]
    each = f"One line for each {' and '.join(kinds)}; a ring" if kinds else "A ring"
    lead = f"{each} marks the chosen step."
    return [Section(name="learning", title="Learning", lead=lead, blocks=blocks)]


def _loss(record: RunRecord, trainings: Mapping[Key, Rows]) -> Chart:
    chosen = _chosen_steps(record)
    validated = any(row.get("validation_loss") for row in record.history)
    curves = _curves(trainings, "train_loss", style=":", named=not validated, chosen={} if validated else chosen)
    if validated:
        curves += _curves(trainings, "validation_loss", style="-", named=True, chosen=chosen)
    ends = [float(rows[-1]["train_loss"]) for rows in trainings.values()]
    return Chart(
        name="loss",
        title="Loss on validation; dotted: on training" if validated else "Loss on training",
        alt=f"Loss by step of {len(trainings)} trainings; on training it ends at {min(ends):.3f} to {max(ends):.3f}.",
        drawing=lines(curves, "step", "loss"),
    )


def _selecting(record: RunRecord, trainings: Mapping[Key, Rows], metric: str) -> Chart:
    name = short_name(record.headline_metric)
    best = [max(float(row[metric]) for row in rows if row.get(metric)) for rows in trainings.values()]
    return Chart(
        name="validation",
        title=f"{name} on validation, which chooses the step",
        alt=f"{name} by step of {len(trainings)} trainings; at best {score(min(best))} to {score(max(best))}.",
        drawing=lines(_curves(trainings, metric, style="-", named=True, chosen=_chosen_steps(record)), "step", name),
    )


def _curves(
    trainings: Mapping[Key, Rows], column: str, *, style: str, named: bool, chosen: Mapping[Key, int]
) -> list[Line]:
    """A line for each training; those of a fold share their colour, and only the first is in the legend."""
    folds = list(dict.fromkeys(fold for _, fold in trainings))
    colours = group_colours(folds) if len(folds) <= MOST_COLOURS else {}
    found, listed = [], set()
    for (seed, fold), all_rows in trainings.items():
        rows = [row for row in all_rows if row.get(column)]
        steps = [int(row["step"]) for row in rows]
        name = f"fold {fold}" if named and len(folds) > 1 and fold not in listed else ""
        listed.add(fold)
        at = chosen.get((seed, fold))
        found.append(
            Line(
                name=name if len(folds) <= MOST_COLOURS else "",
                x=steps,
                y=[float(row[column]) for row in rows],
                colour=colours.get(fold),
                style=style,
                alpha=0.9 if len(trainings) <= MOST_COLOURS else 0.55,
                chosen=[steps.index(at)] if at in steps else [],
            )
        )
    return found


def _chosen_steps(record: RunRecord) -> dict[Key, int]:
    several = record.seeds > 1
    return {
        (str(seed) if several else "", str(fold["fold"])): fold["step"]
        for seed, metrics in record.seed_metrics.items()
        for fold in metrics["folds"]
    }
