"""What is in the store more than once."""

from __future__ import annotations

from typing import Any

from emofuse.common.output.console import plural
from emofuse.common.page.blocks import Column, PagedTable, Section, Table, Text
from emofuse.common.page.columns import telling_columns
from emofuse.report.exploration.sections.material import Material

MOST_PAIRS = 200
"""Rows of each table."""


def copy_section(material: Material) -> Section:
    """Equal audio, near duplicates across folds, and sentences with several labels."""
    copies, entries = material.copies, material.collection.entries
    lines = []
    if copies.scanned:
        count = plural(len(copies.equal_audio), "recording")
        verb = "occurs" if len(copies.equal_audio) == 1 else "occur"
        found = f"{count} {verb} more than once, byte by byte, among {copies.scanned} utterances."
        none = f"No two of {copies.scanned} recordings are identical, byte by byte."
        lines.append(found if copies.equal_audio else none)
    else:
        lines.append("The store has no digests of audio, so identical recordings cannot be found.")
    if copies.near_unsearched:
        lines.append(f"Near-duplicates across folds were not searched: {copies.near_unsearched}.")
    elif not copies.near:
        lines.append(f"No near-duplicates were found across the folds of protocol {copies.protocol}.")
    if copies.texts:
        many = sum(len(t.entries) for t in copies.texts)
        lines.append(
            f"{plural(len(copies.texts), 'sentence')} ({plural(many, 'utterance')} of {copies.with_text} with text) "
            "have more than one label. In a corpus of prompted sentences that is intended; elsewhere no text model can "
            "get all of them right."
        )
    elif copies.with_text:
        lines.append(f"No sentence of {copies.with_text} utterances has more than one label.")
    blocks: list[Any] = [Text(lines=lines)]
    if copies.equal_audio:
        rows = [
            (str(number), e.id, e.label, e.speaker) for number, group in enumerate(copies.equal_audio, 1) for e in group
        ]
        columns = [Column(name=n) for n in ("recording", "id", "label", "speaker")]
        blocks.append(_table("identical-recordings", "Identical recordings", columns, rows))
    if copies.near:
        speakers = {e.utterance.id: e.speaker for e in entries}
        near = [
            (p.test, speakers.get(p.test), p.other, speakers.get(p.other), p.fold, p.correlation) for p in copies.near
        ]
        columns = [
            Column(name="tested"), Column(name="speaker"), Column(name="in training or validation"),
            Column(name="its speaker"), Column(name="fold"), Column(name="correlation", decimals=3),
        ]  # fmt: skip
        blocks.append(
            _table("near-duplicates", f"Possible near-duplicates across the folds of {copies.protocol}", columns, near)
        )
    if copies.texts:
        blocks.append(_texts(material))
    return Section(name="duplicates", title="Duplicates", blocks=blocks)


def _texts(material: Material) -> PagedTable:
    rows = [
        (
            t.text if material.with_text and t.text else f"(text left out) {t.entries[0].id}", len(t.entries),
            len(t.labels), ", ".join(f"{label} {count}" for label, count in list(t.labels.items())[:8]),
        )
        for t in material.copies.texts[:MOST_PAIRS]
    ]  # fmt: skip
    columns = [
        Column(name="sentence"),
        Column(name="utterances"),
        Column(name="labels"),
        Column(name="of each label"),
    ]
    hidden = len(material.copies.texts) - len(rows)
    return PagedTable(
        name="texts", title="Sentences with more than one label", columns=columns, rows=rows,
        caption=f"The {len(rows)} most frequent; {hidden} more." if hidden else "",
    )  # fmt: skip


def _table(name: str, title: str, columns: list[Column], rows: list[Any]) -> Table | PagedTable:
    hidden = max(0, len(rows) - MOST_PAIRS)
    columns, shown, common = telling_columns(columns, rows[:MOST_PAIRS])
    caption = f"{common} {hidden} more rows." if hidden else common
    kind = Table if len(rows) <= 12 else PagedTable
    return kind(name=name, title=title, columns=columns, rows=shown, caption=caption.strip())
