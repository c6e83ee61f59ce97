"""Every test utterance with its true and predicted ratings, the largest error first."""

from __future__ import annotations

from emofuse.common.output.console import as_sentence
from emofuse.common.page.blocks import Column, PagedTable, Section, Sound
from emofuse.common.page.columns import filled_columns, spoken
from emofuse.train.fitting.scoring.prediction_table import PREDICTED, RATED
from emofuse.train.fitting.scoring.recorded_target import target_of
from emofuse.train.runs.page.extras import PageExtras
from emofuse.train.runs.page.record import Rows, RunRecord


def rated_utterances_section(record: RunRecord, extras: PageExtras) -> Section:
    """One row for each utterance; with several seeds, the mean of what they predict."""
    dimensions = target_of(record.metrics).dimensions
    by_id: dict[str, Rows] = {}
    for row in record.predictions:
        by_id[row["id"]] = (*by_id.get(row["id"], ()), row)
    about = {row["id"]: row for row in record.utterances}

    def mean(rows: Rows, column: str) -> float:
        return sum(float(row[column]) for row in rows) / len(rows)

    def error(rows: Rows) -> float:
        each = [
            abs(mean(rows, f"{RATED}{d.name}") - mean(rows, f"{PREDICTED}{d.name}")) / (d.high - d.low)
            for d in dimensions
        ]
        return sum(each) / len(each)

    ordered = sorted(by_id, key=lambda id: -error(by_id[id]))
    sounds = {id: extras.sound(id) for id in ordered}
    values = [
        (
            Column(name=f"{name} {d.name}", decimals=2, filter=True),
            [mean(by_id[id], f"{start}{d.name}") for id in ordered],
        )
        for d in dimensions
        for name, start in (("rated", RATED), ("predicted", PREDICTED))
    ]
    columns, rows = filled_columns(
        [
            (Column(name="id"), ordered),
            *values,
            (
                Column(name="error", decimals=3, filter=True, help="Mean absolute error, as a share of the scale"),
                [error(by_id[id]) for id in ordered],
            ),
            (Column(name="text"), [spoken(extras.texts.get(id)) for id in ordered]),
            (Column(name="recording"), [Sound(href=href) if (href := sounds[id]) else None for id in ordered]),
            (Column(name="speaker", filter=True, once=True), [about.get(id, {}).get("speaker") for id in ordered]),
            (Column(name="fold", filter=True, once=True), [by_id[id][0]["fold"] for id in ordered]),
        ]
    )
    table = PagedTable(name="utterances", title="All test utterances", columns=columns, rows=rows)
    lead = " ".join(map(as_sentence, ["the largest error first", *extras.remarks()]))
    return Section(name="utterances", title="Utterances", lead=lead, blocks=[table])
