"""Every test utterance with its prediction, and the most confident mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emofuse.common.output.console import as_sentence
from emofuse.common.page.blocks import Cell, ClassName, Column, Example, Examples, PagedTable, Section, Sound
from emofuse.common.page.columns import filled_columns, spoken
from emofuse.train.runs.page.extras import PageExtras
from emofuse.train.runs.page.record import RunRecord
from emofuse.train.runs.reporting.tested_utterances import Tested, tested_utterances

MISTAKES = 20
"""How many of the most confident mistakes are shown."""


def utterances_section(record: RunRecord, extras: PageExtras) -> Section:
    """The mistakes as cards, and all test utterances as a table."""
    tested = tested_utterances(record.predictions, record.metrics["classes"], record.utterances)
    wrong = [t for t in tested if t.prediction != t.label]
    if all(t.of_prediction is not None for t in tested):
        wrong.sort(key=lambda t: -(t.of_prediction or 0))
    # The cards ask for their recordings first: a page has room to embed a limited number.
    cards = [_card(t, extras) for t in wrong[:MISTAKES]]
    blocks: list[Any] = [_table(record, tested, extras)]
    if wrong:
        shown = "The most confident mistakes" if wrong[0].of_prediction is not None else "Mistakes"
        caption = f"{len(cards)} of {len(wrong)} wrong predictions{_of_all_seeds(record)}."
        blocks.append(Examples(title=shown, caption=caption, examples=cards))
    lead = " ".join(map(as_sentence, extras.remarks()))
    return Section(name="utterances", title="Utterances", lead=lead, blocks=blocks)


def _card(tested: Tested, extras: PageExtras) -> Example:
    facts: list[tuple[str, Cell]] = [
        ("label", ClassName(name=tested.label)),
        ("prediction", ClassName(name=tested.prediction)),
    ]
    if tested.of_prediction is not None and tested.of_label is not None:
        facts.append(("probability", f"{tested.of_prediction:.3f}, of the label {tested.of_label:.3f}"))
    who = [f"{name} {tested.about[name]}" for name in ("speaker", "session") if tested.about.get(name)]
    text, href = extras.texts.get(tested.id), extras.sound(tested.id)
    return Example(
        id=tested.id,
        facts=[*facts, ("where", ", ".join([*who, f"fold {tested.fold}"]))],
        text=[(text, 0.0)] if text else (),
        sound=Sound(href=href) if href else None,
    )


def _table(record: RunRecord, tested: Sequence[Tested], extras: PageExtras) -> PagedTable:
    """One row for each utterance; columns of which nothing is known are left out."""
    hrefs = {t.id: extras.sound(t.id) for t in tested}
    seconds = [about.seconds if (about := extras.about.get(t.id)) else None for t in tested]
    has_speakers = any(t.about.get("speaker") for t in tested)
    seeds_right: list[Cell] = [f"{t.right} of {record.seeds}" if record.seeds > 1 else None for t in tested]
    columns, rows = filled_columns(
        [
            (Column(name="id"), [t.id for t in tested]),
            (Column(name="label", filter=True), [ClassName(name=t.label) for t in tested]),
            (Column(name="prediction", filter=True), [ClassName(name=t.prediction) for t in tested]),
            (
                Column(name="p", decimals=3, filter=True, help="Probability of the prediction"),
                [_rounded(t.of_prediction) for t in tested],
            ),
            (Column(name="right", filter=True), ["yes" if t.prediction == t.label else "no" for t in tested]),
            (Column(name="seeds right", filter=True), seeds_right),
            (Column(name="text"), [spoken(extras.texts.get(t.id)) for t in tested]),
            (Column(name="recording"), [Sound(href=h) if (h := hrefs[t.id]) else None for t in tested]),
            (
                Column(name="seconds", decimals=2, filter=True, secondary=True),
                seconds,
            ),
            (Column(name="speaker", filter=True, once=True), [t.about.get("speaker") for t in tested]),
            (Column(name="dialogue", below=has_speakers), [_place(t, extras) for t in tested]),
            (Column(name="session", filter=True, once=True), [t.about.get("session") for t in tested]),
            (Column(name="fold", filter=True, once=True), [t.fold for t in tested]),
            (
                Column(name="p(label)", decimals=3, secondary=True, help="Probability of the label"),
                [_rounded(t.of_label) for t in tested],
            ),
        ]
    )
    return PagedTable(
        name="utterances-table",
        title="All test utterances",
        columns=columns,
        rows=rows,
        caption=_caption(record, tested),
    )


def _place(tested: Tested, extras: PageExtras) -> str | None:
    """The dialogue of an utterance, and where in it the utterance is."""
    dialogue, about = tested.about.get("dialogue"), extras.about.get(tested.id)
    if not dialogue or about is None or about.turn is None:
        return dialogue or None
    return f"{dialogue}, turn {about.turn}"


def _of_all_seeds(record: RunRecord) -> str:
    return f" of the {record.seeds} seeds together" if record.seeds > 1 else ""


def _caption(record: RunRecord, tested: Sequence[Tested]) -> str:
    """With several seeds, how often the models are right alone, as the score counts, and together, as the rows do."""
    own = "Probabilities are the model's own, without the temperature." if _is_calibrated(record) else ""
    if record.seeds == 1:
        return own
    alone, together = sum(t.right for t in tested) / record.seeds, sum(t.prediction == t.label for t in tested)
    rule = "by mean probability" if tested[0].of_prediction is not None else "by the majority"
    return (
        f"The score of the run is the mean of {record.seeds} seeds: {alone:.1f} of {len(tested)} right on average. "
        f"In this table, and in the mistakes, the seeds decide together, {rule}: {together} of {len(tested)} right."
        f"{own and ' '}{own}"
    )


def _is_calibrated(record: RunRecord) -> bool:
    return "calibrated" in record.metrics.get("calibration", {})


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
