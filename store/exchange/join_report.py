"""Joins the ids of a source to those of a manifest, and reports which matched and which did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from emofuse.common.errors import UsageError, raise_problems
from emofuse.common.output.console import plural, printable
from emofuse.manifests.schema import Manifest, Modality
from emofuse.store.inspect.describe import has_modality

NAMED_IDS = 10
"""Ids that a line of the report names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinReport:
    """The outcome of a join by utterance id."""

    matched: dict[str, str]
    """Id of the source -> id of the manifest."""
    unknown: tuple[str, ...] = ()
    """Ids of the source that the manifest does not have."""
    missing: tuple[str, ...] = ()
    """Utterances of the manifest that have the modality, but are not in the source."""

    @property
    def complete(self) -> bool:
        """Whether everything matched, on both sides."""
        return not self.unknown and not self.missing

    def lines(self) -> list[str]:
        """The report as text, one line each."""
        return [
            f"{plural(len(self.matched), 'utterance')} matched by id",
            *counted(self.unknown, "in the source only, unknown to the manifest"),
            *counted(self.missing, "in the manifest only, missing in the source"),
        ]


def counted(ids: Sequence[str], what: str) -> list[str]:
    """One line with the number of ids and the first ones; no line where there are no ids."""
    return [f"  {len(ids)} {what}: {first_ids(ids, NAMED_IDS)}"] if ids else []


def first_ids(ids: Iterable[str], count: int) -> str:
    """The first `count` ids, safe to print, with `...` where there are more."""
    head = list(islice(ids, count + 1))
    return ", ".join(printable(i, 60) for i in head[:count]) + (", ..." if len(head) > count else "")


def join(ids: Sequence[str], manifest: Manifest, modality: Modality, id_key: Callable[[str, str], str]) -> JoinReport:
    """Join a source's ids to a manifest's; ids alone decide, never the order.

    Args:
        ids: The source's ids.
        manifest: The manifest that they are looked up in.
        modality: Utterances of the manifest without it are not expected in the source.
        id_key: (corpus, id) -> how the source's format spells an id; the manifest's own spelling matches, too.

    Raises:
        UsageError: An id occurs twice in the source, or none matches.
    """
    refuse_duplicates(ids)
    known = {u.id: u.id for u in manifest.utterances}
    for u in manifest.utterances:
        known.setdefault(id_key(manifest.corpus, u.id), u.id)
    matched = {id: known[id] for id in ids if id in known}
    raise_problems(
        [
            f"{printable(id)} is in the source under {n} spellings"
            for id, n in Counter(matched.values()).items()
            if n > 1
        ],
        "the source has utterances twice",
    )
    if not matched:
        raise UsageError(
            f"no id of the source is in the manifest of {printable(manifest.corpus)}; nothing was written\n"
            f"  the source has {len(ids)}, such as {first_ids(sorted(ids), 3)}\n"
            f"  the manifest has {len(manifest)}, such as {first_ids(manifest.ids, 3)}\n"
            "ids are never matched by position; name the source's files or rows as the manifest does"
        )
    matched_ids = set(matched.values())
    return JoinReport(
        matched=matched,
        unknown=tuple(id for id in ids if id not in known),
        missing=tuple(u.id for u in manifest.utterances if u.id not in matched_ids and has_modality(u, modality)),
    )


def refuse_duplicates(ids: Iterable[str]) -> None:
    """Refuse ids that occur twice.

    Raises:
        UsageError: Names them.
    """
    raise_problems(
        [f"{printable(id)} ({n} times)" for id, n in Counter(ids).items() if n > 1], "ids occur twice in the source"
    )
