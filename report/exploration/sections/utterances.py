"""All utterances in one table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from emofuse.common.page.blocks import Cell, ClassName, Column, Marks, PagedTable, Section
from emofuse.common.page.columns import spoken, telling_columns
from emofuse.report.exploration.measure.collection import Entry
from emofuse.report.exploration.measure.waveforms import CLIPPED
from emofuse.report.exploration.sections.material import Material

MOST_BYTES = 1_400_000
"""Of the table in a page."""
MOST_PLAYERS = 2000
"""With more utterances than this there are no players."""

COLUMNS = {
    "label": Column(name="label", filter=True),
    "speaker": Column(name="speaker", filter=True),
    "corpus": Column(name="corpus", filter=True, once=True),
    "seconds": Column(name="seconds", decimals=2, filter=True),
    "SNR": Column(name="SNR", decimals=1, filter=True, help="dB, estimated by WADA-SNR"),
    "clipped": Column(name="clipped %", decimals=2),
    "wrong": Column(name="wrong %", decimals=0, filter=True, help="Of the run's seeds"),
    "marks": Column(name="marks", filter=True),
}
"""Those that are more than their name."""


def utterance_section(material: Material, *, all_rows: bool) -> Section:
    """The table.

    Args:
        material: What was measured.
        all_rows: Also where the page would become large.
    """
    entries = material.collection.entries
    cells = [_cells(material, e) for e in entries]
    columns, rows, common = telling_columns(
        [COLUMNS.get(name, Column(name=name)) for name in cells[0]], [tuple(row.values()) for row in cells]
    )
    kept = rows if all_rows else _fitting(rows)
    captions = [common] if common else []
    if len(kept) < len(rows):
        captions.append(f"{len(kept)} of {len(rows)} utterances, evenly spaced; --format csv writes all of them.")
    table = PagedTable(name="utterances", title="Utterances", columns=columns, rows=kept, caption=" ".join(captions))
    return Section(name="all-utterances", title="Utterances", blocks=[table])


def _cells(material: Material, e: Entry) -> dict[str, Cell]:
    """Name of the column -> cell; the same names for every utterance, None where nothing is known."""
    audio, text = material.audio, (e.utterance.text if material.with_text else None) or None
    clip = audio.by_id.get(e.id) if audio else None
    marks = _marks(material, e)
    players = len(material.collection.entries) <= MOST_PLAYERS
    return {
        "id": e.id,
        "label": ClassName(name=e.label) if e.label else None,
        "speaker": e.speaker,
        "corpus": e.corpus if material.collection.several else None,
        "seconds": e.utterance.seconds,
        "SNR": clip.snr if clip else None,
        "clipped": 100 * clip.clipped if clip else None,
        "wrong": material.percent_wrong(e),
        "marks": Marks(names=marks) if marks else None,
        "text": spoken(text),
        "audio": material.player(e) if players else None,
    }


def _marks(material: Material, e: Entry) -> tuple[str, ...]:
    audio, found = material.audio, []
    if e.id in material.copies.ids:
        found.append("duplicate")
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
