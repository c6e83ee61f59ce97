"""What the model can do with one modality alone, or the command that measures it."""

from __future__ import annotations

from typing import Any

from emofuse.common.charts.intervals import Bar, intervals
from emofuse.common.errors import UnknownNameError
from emofuse.common.page.blocks import Chart, Commands, Section, Text
from emofuse.manifests.metrics.scores import short_name
from emofuse.train.models.registry import variant
from emofuse.train.runs.page.commands import changed_fit
from emofuse.train.runs.page.record import RunRecord
from emofuse.train.runs.reporting.majority_score import majority_score
from emofuse.train.runs.reporting.score_text import score, spread

ALONE = ("audio", "text")
"""The models of one modality have the names of the modalities."""


def modalities_sections(record: RunRecord) -> list[Section]:
    """The scores with a modality absent, or how to get them; none for a run of one modality, or an evaluation."""
    if record.metrics.get("without"):
        blocks: list[Any] = [_chart(record)]
    elif len(record.task["features"]) > 1 and not (record.is_evaluation or "stacked" in record.metrics):
        blocks = _how_to(record)
    else:
        return []
    return [Section(name="modalities", title="Modalities", blocks=blocks)]


def _chart(record: RunRecord) -> Chart:
    metrics, name = record.metrics, record.headline_metric
    modalities = list(record.task["features"])
    found = {" and ".join(modalities): (metrics["mean"], metrics["std"])}
    for absent, values in metrics["without"].items():
        alone = [m for m in modalities if m != absent]
        found[f"{' and '.join(alone)} alone"] = (values["mean"], values["std"])
    rows = []
    for label, (mean, deviation) in found.items():
        width = deviation.get(name) or 0.0
        rows.append(
            Bar(name=label, value=mean[name], low=mean[name] - width, high=mean[name] + width, note=score(mean[name]))
        )
    over = " over seeds" if record.seeds > 1 else " over folds" if record.has_folds else ""
    points = f"Points are means{over}, lines ± one standard deviation" if over else "Points are scores of one fold"
    listed = ", ".join(
        f"{label} {spread(mean[name], deviation.get(name))}" for label, (mean, deviation) in found.items()
    )
    return Chart(
        name="modalities",
        title=f"{short_name(name)} with and without a modality",
        alt=f"{short_name(name)}: {listed}.",
        caption=f"{points}; the same weights with a modality absent. The dashed line is the score of the most "
        "frequent class.",
        drawing=intervals(
            rows, short_name(name), reference=majority_score(metrics["confusion"], name), limits=(-0.03, 1.03)
        ),
    )


def _how_to(record: RunRecord) -> list[Any]:
    """Why there are no such scores, and the commands that give them."""
    features = record.task["features"]
    try:
        optional = variant(record.task["model"], record.task.get("ablation"))[2].optional
    except UnknownNameError:  # the model of a plugin that is not installed here
        optional = ()
    if optional:
        why = "This run was not scored with a modality absent."
        title = "This command trains the same model and scores it without each modality"
        commands = [changed_fit(record, {"score_without": list(optional)})]
    else:
        why = "This model needs both modalities, so it has no score with one of them alone."
        title = "These commands train the models of one modality on the same features"
        unused = (*ALONE, "ablation", "settings", "set")
        commands = [changed_fit(record, {"model": m, m: features[m]["name"]}, unused) for m in ALONE if m in features]
    known = list(filter(None, commands))
    return [Text(lines=[why]), *([Commands(name="one-modality", title=title, commands=known)] if known else [])]
