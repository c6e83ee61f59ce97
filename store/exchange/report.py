"""What matched and what did not, when ids of two sides are joined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from emofuse.common.console import printable
from emofuse.common.errors import UsageError, complain
from emofuse.manifests.schema import Manifest
from emofuse.store.core.spec import Modality
from emofuse.store.inspect.describe import has

FIRST = 10
"""Ids that a line of the report names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of a join by utterance id."""

    matched: dict[str, str]
    """Id of the source -> id of the manifest."""
    unknown: tuple[str, ...] = ()
    """Ids of the source that the manifest does not have."""
    lacking: tuple[str, ...] = ()
    """Utterances of the manifest with the modality that the source does not have."""

    @property
    def complete(self) -> bool:
        """Whether everything matched, on both sides."""
        return not self.unknown and not self.lacking

    def lines(self) -> list[str]:
        """The report, for people."""
        return [
            f"{len(self.matched)} utterances matched by id",
            *counted(self.unknown, "in the source alone, unknown to the manifest"),
            *counted(self.lacking, "in the manifest alone, lacking in the source"),
        ]


def counted(ids: Sequence[str], what: str) -> list[str]:
    """A line with the number of ids and the first ones; none where there are none."""
    return [f"  {len(ids)} {what}: {shown(ids, FIRST)}"] if ids else []


def shown(ids: Iterable[str], count: int) -> str:
    """The first ids, printable."""
    listed = list(islice(ids, count + 1))
    return ", ".join(printable(i, 60) for i in listed[:count]) + (", ..." if len(listed) > count else "")


def join(ids: Sequence[str], manifest: Manifest, modality: Modality, key: Callable[[str, str], str]) -> Report:
    """Join a source's ids to a manifest's, by id alone.

    Args:
        key: (corpus, id) -> how the source's format spells an id; the manifest's own spelling is taken too.

    Raises:
        UsageError: An id occurs twice in the source, or none matches.
    """
    refuse_duplicates(ids)
    known = {u.id: u.id for u in manifest.utterances}
    for u in manifest.utterances:
        known.setdefault(key(manifest.corpus, u.id), u.id)
    matched = {id: known[id] for id in ids if id in known}
    complain(
        [
            f"{printable(id)} stands for the same utterance as another name of it"
            for id, n in Counter(matched.values()).items()
            if n > 1
        ],
        "the source has utterances twice",
    )
    if not matched:
        raise UsageError(
            f"no id of the source is in the manifest of {printable(manifest.corpus)}; nothing was written\n"
            f"  the source has {len(ids)}, such as {shown(sorted(ids), 3)}\n"
            f"  the manifest has {len(manifest)}, such as {shown(manifest.ids, 3)}\n"
            "ids are never matched by position; name the source's files or rows as the manifest does"
        )
    found = set(matched.values())
    return Report(
        matched=matched,
        unknown=tuple(id for id in ids if id not in known),
        lacking=tuple(u.id for u in manifest.utterances if u.id not in found and has(u, modality)),
    )


def refuse_duplicates(ids: Iterable[str]) -> None:
    """Refuse ids that occur twice.

    Raises:
        UsageError: Names them.
    """
    complain(
        [f"{printable(id)} ({n} times)" for id, n in Counter(ids).items() if n > 1], "ids occur twice in the source"
    )
