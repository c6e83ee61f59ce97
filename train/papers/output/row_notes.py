"""Each note of a table's rows said once: what all rows share, and letters for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emofuse.train.papers.results import ResultRow, ResultTable

PLAIN_STATES = ("cited", "not run")
"""Why a row has no figures of ours, where one or two words say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableNotes:
    """The notes of all rows of a table."""

    shared: Mapping[str, tuple[str, ...]]
    """Protocol -> the notes that every row of ours has there, without those that the paper's row has."""
    letters: Mapping[str, str]
    """Every other note -> its letter, in the order of the rows."""

    def letters_of(self, row: ResultRow) -> list[str]:
        """The letters of a row's notes."""
        return [self.letters[note] for note in _notes(row) if note in self.letters]

    def explained(self) -> list[str]:
        """What the letters mean, one line each."""
        return [f"{letter}: {note}." for note, letter in self.letters.items()]


def table_notes(results: ResultTable) -> TableNotes:
    """Collect the notes of a table's rows."""
    shared = {}
    notes: list[str] = []
    for task in results.shown_blocks:
        rows = results.rows_of(task)
        ours = [[note for note in _notes(row) if note != row.row.note] for row in rows if row.state == "run"]
        common = [note for note in ours[0] if all(note in of_row for of_row in ours)] if ours else []
        shared[task.protocol] = tuple(dict.fromkeys(common))
        notes += [note for row in rows for note in _notes(row) if row.state != "run" or note not in common]
    return TableNotes(shared=shared, letters={note: _letter(n) for n, note in enumerate(dict.fromkeys(notes))})


def _notes(row: ResultRow) -> list[str]:
    """A row's notes, and why it has no figures of ours where that takes more than two words."""
    if row.state == "run":
        return list(row.notes)
    return [note for note in (row.state, row.row.note) if note and note not in PLAIN_STATES]


def _letter(number: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    first, last = divmod(number, 26)
    return (chr(ord("a") + first - 1) if first else "") + chr(ord("a") + last)
