"""All utterances in one table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from emofuse.common.page.blocks import Cell, ClassName, Column, Marks, PagedTable, Section
from emofuse.report.exploration.measure.collection import Entry
from emofuse.report.exploration.measure.waveforms import CLIPPED
from emofuse.report.exploration.sections.material import Material

MOST_BYTES = 1_400_000
"""Of the table in a page."""
MOST_PLAYERS, LONG_TEXT = 2000, 160
"""With more utterances than this there are no players; and letters of a text that are shown."""


def utterance_section(material: Material, *, all_rows: bool) -> Section:
    """The table.

    Args:
        material: What was measured.
        all_rows: Also where the page would become large.
    """
    entries = material.collection.entries
    columns = _columns(material)
    rows = [tuple(cell for _, cell in _cells(material, e)) for e in entries]
    kept = rows if all_rows else _fitting(rows)
    caption = ""
    if len(kept) < len(rows):
        caption = f"{len(kept)} of {len(rows)} utterances, evenly spaced; --format csv writes all of them."
    table = PagedTable(name="utterances", title="Utterances", columns=columns, rows=kept, caption=caption)
    return Section(name="all-utterances", title="Utterances", blocks=[table])


def _columns(material: Material) -> list[Column]:
    known = {
        "label": Column(name="label", filter=True),
        "speaker": Column(name="speaker", filter=True),
        "corpus": Column(name="corpus", filter=True),
        "seconds": Column(name="seconds", decimals=2),
        "SNR": Column(name="SNR", decimals=1, help="dB, estimated by WADA-SNR"),
        "clipped": Column(name="clipped %", decimals=2),
        "error": Column(name="error", decimals=2, help="Share of the run's seeds that were wrong"),
        "marks": Column(name="marks", filter=True),
    }
    names = [name for name, _ in _cells(material, material.collection.entries[0])]
    return [known.get(name, Column(name=name)) for name in names]


def _cells(material: Material, e: Entry) -> list[tuple[str, Cell]]:
    """Name and content of each cell; the same names for every utterance."""
    collection, audio = material.collection, material.audio
    clip = audio.by_id.get(e.id) if audio else None
    cells: list[tuple[str, Cell]] = [("id", e.id)]
    if collection.classes:
        cells.append(("label", ClassName(name=e.label) if e.label else None))
    if collection.speakers:
        cells.append(("speaker", e.speaker))
    if collection.several:
        cells.append(("corpus", e.corpus))
    if audio is not None or any(f.pooled.modality == "audio" for f in material.features):
        cells.append(("seconds", e.utterance.seconds))
    if audio is not None:
        cells += [("SNR", clip.snr if clip else None), ("clipped", 100 * clip.clipped if clip else None)]
    if material.run is not None:
        cells.append(("error", material.run_errors.get(e.id)))
    marks = _marks(material, e)
    cells.append(("marks", Marks(names=marks) if marks else None))
    if material.with_text and material.has_text:
        text = e.utterance.text or ""
        cells.append(("text", text if len(text) <= LONG_TEXT else f"{text[: LONG_TEXT - 1]}…"))
    if audio is not None and len(collection.entries) <= MOST_PLAYERS:
        cells.append(("audio", material.player(e)))
    return cells


def _marks(material: Material, e: Entry) -> tuple[str, ...]:
    audio, found = material.audio, []
    if e.id in material.copies.ids:
        found.append("copy")
    if audio is not None:
        clip = audio.by_id.get(e.id)
        if clip is not None and clip.clipped >= CLIPPED:
            found.append("clipped")
        if e.id in audio.unreadable:
            found.append("no audio")
    return tuple(found)


def _fitting(rows: Sequence[Any]) -> Sequence[Any]:
    """As many rows, evenly spaced, as a page can hold."""
    few = rows[:: 1 + len(rows) // 200]
    size = sum(len(json.dumps(row, default=_plain)) for row in few) / len(few)
    most = int(MOST_BYTES / size)
    return rows if len(rows) <= most else [rows[i * len(rows) // most] for i in range(most)]


def _plain(cell: Any) -> Any:
    return getattr(cell, "name", None) or getattr(cell, "href", None) or getattr(cell, "names", None)
