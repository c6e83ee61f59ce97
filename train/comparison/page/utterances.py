"""The utterances that not every run gets right: who is right, what each run predicts, and what was said."""

from __future__ import annotations

from emofuse.common.output.console import as_sentence
from emofuse.common.page.blocks import Cell, ClassName, Column, PagedTable, Section, Sound, Text
from emofuse.common.page.columns import filled_columns, spoken
from emofuse.train.comparison.page.record import ComparisonRecord

MOST_PROBABILITIES = 4
"""Up to how many runs the table has their probabilities."""
MOST_CELLS = 100_000
"""About how many cells the table has at most, those of common errors left out."""
_NONE = "none"
"""Right: no run. Also the prediction of a run that has none."""
Columns = list[tuple[Column, list[Cell]]]


def utterances_section(record: ComparisonRecord) -> Section:
    """One table of what at least one run gets wrong."""
    right = {id: _right(record, id) for id in record.runs[0].ids}
    every = " ".join(record.letters)
    shown = [id for id, letters in right.items() if letters != every]
    only_some = [id for id in shown if right[id] != _NONE]
    lead = (
        f"{len(right) - len(shown)} of {len(right)} utterances are right in every run, {len(only_some)} in only some, "
        f"{len(shown) - len(only_some)} in none."
    )
    shown.sort(key=lambda id: right[id] == _NONE)
    most = MOST_CELLS // (5 + len(record.runs))
    if len(shown) > most:
        lead += f" The table has the first {most:,} that are not right in every run."
    blocks = [_table(record, shown[:most], right)] if shown else [Text(lines=["Every run gets every utterance right."])]
    return Section(name="utterances", title="Utterances", lead=lead, blocks=blocks)


def _right(record: ComparisonRecord, id: str) -> str:
    """The letters of the runs that get an utterance right."""
    letters = []
    for letter, run in zip(record.letters, record.tested, strict=True):
        found = run.get(id)
        if found is not None and found.prediction == found.label:
            letters.append(letter)
    return " ".join(letters) or _NONE


def _table(record: ComparisonRecord, ids: list[str], right: dict[str, str]) -> PagedTable:
    labels = dict(zip(record.runs[0].ids, record.labels.tolist(), strict=True))
    rows = {row["id"]: row for row in record.utterance_rows() or ()}
    columns: Columns = [
        (Column(name="id"), list(ids)),
        (Column(name="label", filter=True), [ClassName(name=record.classes[labels[id]]) for id in ids]),
        (Column(name="right", filter=True, help="The runs that get it right."), [right[id] for id in ids]),
    ]
    for number in range(len(record.runs)):
        columns += _of_run(record, number, ids)
    columns += [
        (Column(name="text"), [spoken(record.material.texts.get(id)) for id in ids]),
        (Column(name="recording"), [Sound(href=h) if (h := record.material.sound(id)) else None for id in ids]),
        (Column(name="speaker", filter=True, once=True), [rows.get(id, {}).get("speaker") for id in ids]),
    ]
    filled, cells = filled_columns(columns)
    return PagedTable(
        name="utterances-table",
        title="Utterances that not every run gets right",
        columns=filled,
        rows=cells,
        caption=" ".join([*_seeds_line(record), *map(as_sentence, record.material.remarks())]),
    )


def _of_run(record: ComparisonRecord, number: int, ids: list[str]) -> Columns:
    """What a run predicts, with its probability and, of several seeds, how many are right."""
    letter, seeds = record.letters[number], len(record.runs[number].seeds)
    tested = [record.tested[number].get(id) for id in ids]
    columns: Columns = [
        (Column(name=letter, filter=True), [ClassName(name=t.prediction) if t else _NONE for t in tested])
    ]
    if len(record.runs) <= MOST_PROBABILITIES:
        probabilities: list[Cell] = [
            round(t.of_prediction, 3) if t and t.of_prediction is not None else None for t in tested
        ]
        columns.append((Column(name=f"p({letter})", decimals=3, below=True), probabilities))
    if seeds > 1 and len(record.runs) <= MOST_PROBABILITIES:
        right = [f"{t.right if t else 0} of {seeds}" for t in tested]
        columns.append((Column(name=f"{letter} seeds right", below=True), [*right]))
    return columns


def _seeds_line(record: ComparisonRecord) -> list[str]:
    """With several seeds: how often each run is right as its score counts, and as the rows do."""
    if all(len(run.seeds) == 1 for run in record.runs):
        return []
    alone = [(run.predictions == record.labels).sum() / len(run.seeds) for run in record.runs]
    together = [sum(t.prediction == t.label for t in tested.values()) for tested in record.tested]
    by_probability = all(t.of_prediction is not None for tested in record.tested for t in tested.values())
    counts = (
        f"{letter} {one:.1f} and {all_seeds}"
        for letter, one, all_seeds in zip(record.letters, alone, together, strict=True)
    )
    rule = "by mean probability" if by_probability else "by the majority"
    return [
        "Scores are means over seeds; in this table the seeds of a run decide together, "
        f"{rule}. Right of {len(record.labels)} on average and together: {', '.join(counts)}."
    ]
