"""Merges manifests of one corpus row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from emofuse.manifests.schema import ASR, TEXT_FIELDS, WITHDRAWN, Manifest, Utterance
from emofuse.store.core.spec import source_digest


def merge_manifests(manifests: Sequence[Manifest]) -> tuple[Manifest, list[str]]:
    """One manifest with the rows of all, and a line for each conflict, decided in favour of the earlier manifest."""
    merged, conflicts = manifests[0], list[str]()
    for other in manifests[1:]:
        rows = {u.id: u for u in merged.utterances}
        for theirs in other.utterances:
            ours = rows.get(theirs.id)
            rows[theirs.id] = theirs if ours is None else _merge_rows(ours, theirs, conflicts)
        excluded = {(e.id, e.modality): e for e in (*other.excluded, *merged.excluded)}
        for withdrawn in (e for e in excluded.values() if e.reason == WITHDRAWN):
            rows.pop(withdrawn.id, None)
        still_excluded = [
            e for e in excluded.values() if e.id not in rows or (e.modality and getattr(rows[e.id], e.modality) is None)
        ]
        merged = replace(merged, utterances=tuple(rows.values()), excluded=tuple(still_excluded))
    return merged.without_text() if any(m.withholds_text for m in manifests) else merged, conflicts


def _merge_rows(ours: Utterance, theirs: Utterance, conflicts: list[str]) -> Utterance:
    """One row of two: a field that only one has is taken; a field that differs is a conflict."""
    ours, theirs = _prefer_corpus_text(ours, theirs), _prefer_corpus_text(theirs, ours)
    digests = [source_digest("text", u) for u in (ours, theirs)]
    if None not in digests and digests[0] != digests[1] and None in (ours.text, theirs.text):
        conflicts.append(f"{ours.id}: text is different (left out of one of the stores)")
        return ours
    taken = {}
    for name in (f.name for f in fields(Utterance)):
        a, b = getattr(ours, name), getattr(theirs, name)
        if a in (None, {}):
            taken[name] = b
        elif b not in (None, {}, a):
            conflicts.append(f"{ours.id}: {name} is {a!r} and {b!r}")
    return replace(ours, **taken)


def _prefer_corpus_text(row: Utterance, other: Utterance) -> Utterance:
    """`row`, with the text of `other` where a recogniser wrote its own and the other one is the corpus's."""
    if row.text_kind != ASR or other.text_kind == ASR or source_digest("text", other) is None:
        return row
    return replace(row, text=other.text, **{name: getattr(other, name) for name in TEXT_FIELDS})
