"""Which of a user's columns is which field of an utterance: `--columns label=emotion,speaker=spk`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from emofuse.common.errors import UsageError, raise_problems

FIELDS = ("id", "audio", "start", "end", "text", "label", "speaker", "session", "dialogue", "turn", "split")
"""The fields that a column can be."""
USUAL: Mapping[str, tuple[str, ...]] = {
    "audio": ("audio", "file", "path"),
    "label": ("label", "emotion", "labels", "emotions"),
    "text": ("text", "transcription", "transcript", "sentence"),
    "speaker": ("speaker", "speaker_id"),
}
"""The names that other software gives to a field, the most frequent first; of any other field its own name."""
SPLITS = {"train": "train", "dev": "dev", "devel": "dev", "valid": "dev", "validation": "dev", "test": "test"}
"""The usual names of splits -> ours."""
_NUMBERS = ("start", "end", "turn")


def texts(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its fields as text, as names in other software may be numbers; times and turns stay numbers."""
    return {key: str(value) if key in FIELDS and key not in _NUMBERS else value for key, value in row.items()}


def require_content(found: Collection[str], available: Collection[str], source: str) -> None:
    """Refuse a source where neither audio nor text is found.

    Args:
        found: The fields that the source has.
        available: Its columns.
        source: What has them, for the message.

    Raises:
        UsageError: Lists the columns.
    """
    if not {"audio", "text"} & set(found):
        raise UsageError(
            f"{source} has no column of audio or text: name one, --columns audio=COLUMN or text=COLUMN; it has: "
            f"{', '.join(available) or 'none'}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnNames:
    """The columns that a user named."""

    given: Mapping[str, str] = field(default_factory=dict)
    """Field -> column."""

    @classmethod
    def parse(cls, text: str | None) -> ColumnNames:
        """From `FIELD=COLUMN,FIELD=COLUMN`; None means that none is named.

        Raises:
            UsageError: Lists every mistake.
        """
        given: dict[str, str] = {}
        problems = []
        for entry in (text or "").split(",") if text is not None else ():
            name, equals, column = (part.strip() for part in entry.partition("="))
            if not (equals and column):
                problems.append(f"{entry.strip()!r} is not FIELD=COLUMN")
            elif name not in FIELDS:
                problems.append(f"no field {name!r}; valid: {', '.join(FIELDS)}")
            elif name in given or column in given.values():
                problems.append(f"{entry.strip()}: {name} or {column} is named twice")
            else:
                given[name] = column
        raise_problems(problems, f"--columns {text}")
        return cls(given=given)

    def of(self, name: str) -> str:
        """The column of a field: the named one, or the one of the same name."""
        return self.given.get(name, name)

    def renamed(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row with the named columns under the names of their fields; a column that they replace is left out."""
        fields = {column: name for name, column in self.given.items()}
        kept = {key: value for key, value in row.items() if key not in self.given or key in fields}
        return {fields.get(key, key): value for key, value in kept.items()}

    def recognised(self, available: Collection[str], source: str) -> dict[str, str]:
        """Field -> column, by what the user named, and for the other fields by their usual names.

        Args:
            available: The columns of the source.
            source: What has them, for an error message.

        Raises:
            UsageError: A named column does not exist; lists those that do.
        """
        absent = [column for column in self.given.values() if column not in available]
        if absent:
            raise UsageError(f"{source} has no column {', '.join(absent)}; it has: {', '.join(available) or 'none'}")
        found = dict(self.given)
        for name in FIELDS:
            taken = set(found.values())
            usual = next((c for c in USUAL.get(name, (name,)) if c in available and c not in taken), None)
            if name not in found and usual:
                found[name] = usual
        return found
