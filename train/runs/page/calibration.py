"""Whether the probabilities are what they say: the reliability diagram and the errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emofuse.common.charts.bars import histogram
from emofuse.common.charts.lines import Line, lines
from emofuse.common.charts.palette import BLUE, GREY, VERMILION
from emofuse.common.output.console import plural
from emofuse.common.page.blocks import Chart, Column, Details, Section, Table
from emofuse.manifests.metrics.calibration import BINS
from emofuse.train.runs.page.record import RunRecord
from emofuse.train.runs.reporting.score_text import CALIBRATION_ERRORS, score

PERFECT, OWN, SCALED = GREY, BLUE, VERMILION
"""Colours of the three lines."""
FEW = 10
"""The share that is right among fewer predictions is mostly chance."""
_HELP = {
    "ece": "Mean distance of confidence and accuracy (expected calibration error)",
    "classwise_ece": "The same for the probability of each class, mean over classes",
    "brier": "Mean squared distance from the label, 0 to 2",
    "nll": "Mean of -log p of the label",
}


def calibration_sections(record: RunRecord) -> list[Section]:
    """The diagram and the errors; none for a run of version 0.1.0."""
    own = record.metrics.get("calibration")
    if not own:
        return []
    kinds = {"the model's own": own} | ({"with temperature": own["calibrated"]} if "calibrated" in own else {})
    lead = "Of the utterances that a calibrated model is 80 % sure of, 80 % are right: its points are on the diagonal."
    blocks = [_diagram(kinds), _sizes(record, own), _errors(record, kinds), _bins(kinds)]
    return [Section(name="calibration", title="Calibration", lead=lead, blocks=blocks)]


def _diagram(kinds: Mapping[str, Any]) -> Chart:
    curves = [Line(name="calibrated exactly", x=[0, 1], y=[0, 1], style="--", colour=PERFECT)]
    for (name, found), colour, marker in zip(kinds.items(), (OWN, SCALED), "os", strict=False):
        bins = found["reliability"]
        many, few = ([b for b in bins if (b["n"] < FEW) == is_few] for is_few in (False, True))
        curves.append(_points(many, name=name, marker=marker, colour=colour))
        curves += [_points(few, style="", marker=marker, colour=GREY, hollow=True)] if few else []
    listed = "; ".join(f"{name}, ECE {score(found['ece'])}" for name, found in kinds.items())
    return Chart(
        name="reliability",
        title="Accuracy by confidence",
        alt=f"Reliability diagram: {listed}.",
        caption=f"Each point is one of {BINS} bins of the largest probability; the table of errors sums up how far off "
        f"they are. Grey and hollow: bins of fewer than {FEW} predictions, which may be off the diagonal by chance.",
        drawing=lines(curves, "probability of the prediction", "share that is right", height=2.9),
    )


def _points(bins: Sequence[Mapping[str, Any]], **look: Any) -> Line:
    return Line(x=[b["confidence"] for b in bins], y=[b["accuracy"] for b in bins], **look)


def _sizes(record: RunRecord, own: Mapping[str, Any]) -> Chart:
    """How many predictions each point of the diagram stands for."""
    bins = own["reliability"]
    most = max(bins, key=lambda b: b["n"])
    middles = [(b["from"] + b["to"]) / 2 for b in bins for _ in range(b["n"])]
    edges = [number / BINS for number in range(BINS + 1)]
    return Chart(
        name="reliability-counts",
        title="Predictions in each bin",
        alt=f"Histogram of the model's own probabilities: {_range(most)} has the most, {most['n']} of {len(middles)}.",
        caption=f"{len(middles)} predictions: {plural(record.tested, 'utterance')}, {record.seeds} seeds."
        if record.seeds > 1
        else "",
        drawing=histogram(middles, "probability of the prediction", bins=edges, count_label="predictions"),
    )


def _bins(kinds: Mapping[str, Any]) -> Details:
    """What the diagram draws, in numbers."""
    several = len(kinds) > 1
    rows = [
        [*([name] if several else []), _range(b), b["n"], score(b["confidence"]), score(b["accuracy"])]
        for name, found in kinds.items()
        for b in found["reliability"]
    ]
    columns = [
        *([Column(name="probabilities")] if several else []),
        Column(name="bin", help="Of the largest probability"),
        Column(name="predictions", help="Of all seeds"),
        Column(name="mean probability"),
        Column(name="share that is right"),
    ]
    return Details(title="The bins as a table", blocks=[Table(name="bins", title="Bins", columns=columns, rows=rows)])


def _range(bin: Mapping[str, Any]) -> str:
    return f"{bin['from']:.2f}–{bin['to']:.2f}"


def _errors(record: RunRecord, kinds: Mapping[str, Any]) -> Table:
    rows = [[name, *(score(found[key]) for key in CALIBRATION_ERRORS)] for name, found in kinds.items()]
    columns = [
        Column(name="probabilities"),
        *(Column(name=label, help=_HELP[key]) for key, label in CALIBRATION_ERRORS.items()),
    ]
    found = [
        float(value)
        for metrics in record.seed_metrics.values()
        for value in metrics.get("calibration", {}).get("temperature", {}).values()
    ]
    caption = f"The temperatures of the folds are {min(found):.2f} to {max(found):.2f}." if found else ""
    return Table(
        name="calibration-errors", title="Errors, 0 at best", columns=columns, rows=rows, caption=caption, width="wide"
    )
