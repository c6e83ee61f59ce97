"""Who the model is worse for, and what it can do with one modality alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emofuse.common.charts.intervals import Bar, intervals
from emofuse.common.console import plural
from emofuse.common.page.blocks import Chart, Column, Details, PagedTable, Section
from emofuse.manifests.metrics import short_name
from emofuse.train.runs.page.record import RunRecord
from emofuse.train.runs.page.result import chance
from emofuse.train.runs.reporting.score_text import score, spread

MOST_GROUPS = 30
"""How many groups a chart shows: those with the most utterances."""


def groups_sections(record: RunRecord) -> list[Section]:
    """The section of groups and that of modalities; none where nothing is known."""
    found = record.metrics.get("groups", {})
    blocks: list[Any] = [_chart(record, kind, groups) for kind, groups in found.items() if len(groups) > 1]
    if blocks:
        tables = [_table(kind, groups) for kind, groups in found.items()]
        blocks.append(Details(title="All groups as tables", blocks=tables))
    lead = (
        "UA within each group, over the classes that the group has: with few utterances or classes it says little. The "
        "worst one with at least ten utterances is marked; the dashed line is chance with all classes."
    )
    sections = [Section(name="groups", title="Speakers and groups", lead=lead, blocks=blocks)] if blocks else []
    return sections + ([_modalities(record)] if record.metrics.get("without") else [])


def _chart(record: RunRecord, kind: str, groups: Mapping[str, Mapping[str, Any]]) -> Chart:
    largest = sorted(groups, key=lambda name: -groups[name]["n"])[:MOST_GROUPS]
    ordered = sorted(largest, key=lambda name: -groups[name]["ua"])
    worst = record.metrics.get("worst_groups", {}).get(kind)
    rows = [
        Bar(
            name=name,
            value=groups[name]["ua"],
            marked=bool(worst) and name == worst["name"],
            note=f"n {groups[name]['n']}",
        )
        for name in ordered
    ]
    if worst and worst["name"] not in ordered:
        rows.append(Bar(name=worst["name"], value=worst["ua"], marked=True, note=f"n {worst['n']}"))
    some = f"The {MOST_GROUPS} with the most utterances, of {len(groups)}." if len(groups) > MOST_GROUPS else ""
    lowest = f"The worst is {worst['name']} with {score(worst['ua'])}." if worst else ""
    return Chart(
        name=f"by-{kind}",
        title=f"UA by {kind}",
        alt=f"UA of {plural(len(groups), kind)}, {score(rows[0].value)} to {score(rows[-1].value)}. {lowest}",
        caption=some,
        drawing=intervals(rows, "UA", reference=chance(record.metrics, "ua"), limits=(-0.03, 1.03)),
    )


def _table(kind: str, groups: Mapping[str, Mapping[str, Any]]) -> PagedTable:
    columns = [Column(name=kind), Column(name="n"), Column(name="WA", decimals=3), Column(name="UA", decimals=3)]
    rows = [[name, g["n"], round(g["wa"], 4), round(g["ua"], 4)] for name, g in groups.items()]
    return PagedTable(name=f"groups-{kind}", title=f"By {kind}", columns=columns, rows=rows)


def _modalities(record: RunRecord) -> Section:
    """The scores with each modality absent: what is learned from the other alone."""
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
    over = "seeds" if record.seeds > 1 else "folds"
    listed = ", ".join(
        f"{label} {spread(mean[name], deviation.get(name))}" for label, (mean, deviation) in found.items()
    )
    chart = Chart(
        name="modalities",
        title=f"{short_name(name)} with and without a modality",
        alt=f"{short_name(name)}: {listed}.",
        caption=f"Mean ± std over {over}, the same weights with a modality absent. The dashed line is chance.",
        drawing=intervals(rows, short_name(name), reference=chance(metrics, name)),
    )
    return Section(name="modalities", title="Modalities", blocks=[chart])
