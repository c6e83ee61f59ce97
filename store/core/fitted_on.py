"""What an encoder was fitted on, as a user says it, as a feature's provenance keeps it, and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emofuse.common.errors import UsageError
from emofuse.manifests.schema import Manifest
from emofuse.store.core.spec import canonical

UNKNOWN: list[dict[str, Any]] = [{"corpus": "unknown", "labels": True}]
"""Where nobody has said it; `fit` refuses such a feature."""
PARTS = {"ids": "id", "sessions": "session", "speakers": "speaker", "splits": "split"}
"""Key of an entry -> what of an utterance it lists."""
SHOWN = 12
"""How many of a list are named."""


def parse_fitted_on(words: str) -> list[dict[str, Any]]:
    """What an encoder was fitted on with labels: `none`, a corpus, or a corpus with its sessions, speakers or split.

    Raises:
        UsageError: Anything else.
    """
    if words == "none":
        return []
    corpus, _, part = words.partition(":")
    key, _, values = part.partition("=")
    if not corpus or (part and (key not in ("session", "speaker", "split") or not values)):
        raise UsageError(f"--fitted-on {words!r}: say none, CORPUS, or CORPUS:session=1,2 (or speaker=..., split=...)")
    return [{"corpus": corpus, "labels": True, **({f"{key}s": values.split(",")} if part else {})}]


def declared(stated: Any, said: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What an encoder was fitted on: what its weights state, where that is known, and what a user says of them.

    Raises:
        UsageError: The user says `none`, and the weights state something.
    """
    known = [entry for entry in normal(stated) if entry["corpus"] != "unknown"]
    if known and not said:
        raise UsageError(f"--fitted-on none: the weights themselves say that they were fitted on {in_words(known)}")
    return [*known, *map(dict, said)]


def normal(stated: Any) -> list[dict[str, Any]]:
    """`fitted_on` in one spelling for all that means the same; an entry that names no corpus is of an unknown one."""
    entries = [] if stated is None else stated if isinstance(stated, list | tuple) else [stated]
    return sorted(map(_entry, entries), key=canonical)


def _entry(entry: Any) -> dict[str, Any]:
    corpus = entry.get("corpus") if isinstance(entry, Mapping) else None
    if not isinstance(corpus, str) or not corpus.strip():
        return dict(UNKNOWN[0])
    lists: dict[str, Any] = {
        k: sorted({str(v) for v in entry[k]}) for k in PARTS if isinstance(entry.get(k), list | tuple)
    }
    return {"corpus": corpus.strip().casefold(), "labels": entry.get("labels", True) is not False, **lists}


def in_words(stated: Any) -> str:
    """`fitted_on` for people: `nothing with labels`, `unknown`, `synthetic, session 1`, ..."""
    return "; ".join(map(_told, normal(stated))) or "nothing with labels"


def _told(entry: Mapping[str, Any]) -> str:
    lists = [_listed(one, entry[many]) for many, one in PARTS.items() if many in entry]
    return ", ".join([entry["corpus"], *lists, *([] if entry["labels"] else ["without labels"])])


def _listed(one: str, values: Sequence[str]) -> str:
    shown = ", ".join(values[:SHOWN])
    return f"{one} {shown}" if len(values) <= SHOWN else f"{len(values)} {one}s: {shown}, ..."


def nameless(stated: Any, manifest: Manifest) -> list[dict[str, Any]]:
    """`fitted_on` without a name that the manifest's ids do not say.

    A speaker, and a session that is named after one, goes by the first utterance's id. Ids and names that the manifest
    does not know are counted: they may be another corpus's, or somebody's who withdrew.
    """
    found: list[dict[str, Any]] = []
    for entry in normal(stated):
        own = manifest if entry["corpus"] == manifest.corpus.casefold() else None
        lists: dict[str, Any] = {
            k: _nameless(entry[k], PARTS[k], own) for k in ("ids", "sessions", "speakers") if k in entry
        }
        found.append({**entry, **lists})
    return found


def _nameless(values: Sequence[str], attribute: str, manifest: Manifest | None) -> list[str]:
    utterances = sorted(manifest.utterances, key=lambda u: u.id, reverse=True) if manifest else []
    first = {str(getattr(u, attribute)): u.id for u in utterances}  # the last one set is the first by id
    speakers = {u.speaker for u in utterances}
    told, others = [], 0
    for value in values:
        if attribute == "speaker" or value in speakers:
            known = f"of {first[value]}" if value in first else None
        else:
            known = value if value in first or (attribute == "session" and value.isdecimal()) else None
        told += [] if known is None else [known]
        others += known is None
    return sorted([*told, *([f"{others} more"] if others else [])])
