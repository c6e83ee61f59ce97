"""What an encoder was fitted on (`fitted_on`): as an option, as a feature's provenance records it, and as text.

`fitted_on` is a list of entries, one for each corpus: `{"corpus": "iemocap", "labels": true, "sessions": ["1", "2"]}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emofuse.common.errors import UsageError
from emofuse.manifests.schema import Manifest
from emofuse.store.core.spec import canonical_json

UNKNOWN_FITTED_ON: list[dict[str, Any]] = [{"corpus": "unknown", "labels": True}]
"""Where it is not specified; `fit` refuses such a feature."""
LIST_ATTRIBUTES = {"ids": "id", "sessions": "session", "speakers": "speaker", "splits": "split"}
"""Key of an entry that lists which utterances of its corpus were used -> the utterance's attribute that it lists."""
_SHOWN = 12
"""Values of a list that a text shows."""


def parse_fitted_on(option: str) -> list[dict[str, Any]]:
    """The entries of an option: `none`, `CORPUS`, or `CORPUS:session=1,2` (or `speaker=...`, `split=...`).

    Raises:
        UsageError: Another form.
    """
    if option == "none":
        return []
    corpus, _, selection = option.partition(":")
    key, _, values = selection.partition("=")
    if not corpus or (selection and (key not in ("session", "speaker", "split") or not values)):
        raise UsageError(f"--fitted-on {option!r}: use none, CORPUS, or CORPUS:session=1,2 (or speaker=..., split=...)")
    return [{"corpus": corpus, "labels": True, **({f"{key}s": values.split(",")} if selection else {})}]


def combine_fitted_on(recorded: Any, declared: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The entries that the weights record, without unknown ones, and those that a user declares.

    Raises:
        UsageError: The user declares `none`, and the weights record something.
    """
    known = [entry for entry in normalise_fitted_on(recorded) if entry["corpus"] != "unknown"]
    if known and not declared:
        raise UsageError(
            f"--fitted-on none: the weights themselves say that they were fitted on {describe_fitted_on(known)}"
        )
    return [*known, *map(dict, declared)]


def normalise_fitted_on(recorded: Any) -> list[dict[str, Any]]:
    """`fitted_on` in one form for everything that means the same; an entry without a corpus is an unknown one."""
    entries = [] if recorded is None else recorded if isinstance(recorded, list | tuple) else [recorded]
    return sorted(map(_normalise_entry, entries), key=canonical_json)


def _normalise_entry(entry: Any) -> dict[str, Any]:
    corpus = entry.get("corpus") if isinstance(entry, Mapping) else None
    if not isinstance(corpus, str) or not corpus.strip():
        return dict(UNKNOWN_FITTED_ON[0])
    lists: dict[str, Any] = {
        key: sorted({str(value) for value in entry[key]})
        for key in LIST_ATTRIBUTES
        if isinstance(entry.get(key), list | tuple)
    }
    return {"corpus": corpus.strip().casefold(), "labels": entry.get("labels", True) is not False, **lists}


def describe_fitted_on(recorded: Any) -> str:
    """`fitted_on` as text: `no labels`, `unknown`, `synthetic, session 1`, ..."""
    return "; ".join(map(_describe_entry, normalise_fitted_on(recorded))) or "no labels"


def _describe_entry(entry: Mapping[str, Any]) -> str:
    lists = [_describe_list(attribute, entry[key]) for key, attribute in LIST_ATTRIBUTES.items() if key in entry]
    return ", ".join([entry["corpus"], *lists, *([] if entry["labels"] else ["without labels"])])


def _describe_list(attribute: str, values: Sequence[str]) -> str:
    shown = ", ".join(values[:_SHOWN])
    return f"{attribute} {shown}" if len(values) <= _SHOWN else f"{len(values)} {attribute}s: {shown}, ..."


def anonymise_fitted_on(recorded: Any, manifest: Manifest) -> list[dict[str, Any]]:
    """`fitted_on` without any name that the manifest's ids do not reveal.

    A speaker, and a session that is named after one, is replaced by the id of the first utterance. Ids and names that
    are not in the manifest are only counted: they may be of another corpus, or of a speaker who was withdrawn.
    """
    entries: list[dict[str, Any]] = []
    for entry in normalise_fitted_on(recorded):
        own = manifest if entry["corpus"] == manifest.corpus.casefold() else None
        lists: dict[str, Any] = {
            key: _anonymise_list(entry[key], LIST_ATTRIBUTES[key], own)
            for key in ("ids", "sessions", "speakers")
            if key in entry
        }
        entries.append({**entry, **lists})
    return entries


def _anonymise_list(values: Sequence[str], attribute: str, manifest: Manifest | None) -> list[str]:
    utterances = sorted(manifest.utterances, key=lambda u: u.id, reverse=True) if manifest else []
    first_ids = {str(getattr(u, attribute)): u.id for u in utterances}  # in reverse order, so the first id remains
    speakers = {u.speaker for u in utterances}
    names: list[str] = []
    for value in values:
        if attribute == "speaker" or value in speakers:
            names += [f"of {first_ids[value]}"] if value in first_ids else []
        elif value in first_ids or (attribute == "session" and value.isdecimal()):
            names.append(value)
    others = len(values) - len(names)
    return sorted([*names, *([f"{others} more"] if others else [])])
