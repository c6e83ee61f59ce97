"""The splits train, valid and test of an export, for formats that need them."""

from __future__ import annotations

from collections.abc import Sequence

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.common.output.console import plural
from emofuse.manifests.schema import Utterance

SPLITS = ("train", "valid", "test")
KEYS = ("id", "session", "speaker", "split", "dialogue", "label")
"""What --valid and --test select utterances by."""


def assign_splits(utterances: Sequence[Utterance], valid: str | None, test: str | None) -> dict[str, str]:
    """The split of each utterance: as --valid and --test select, otherwise the corpus's official split.

    Args:
        utterances: The utterances to export.
        valid: `KEY=VALUE,...`, or None.
        test: The same.

    Returns:
        Utterance id -> train, valid or test.

    Raises:
        UsageError: An utterance has no split, or a split is empty.
    """
    splits = _official(utterances) if valid is None and test is None else _selected(utterances, valid, test)
    empty = [split for split in SPLITS if split not in splits.values()]
    if empty:
        raise UsageError(f"no utterance in split {' and '.join(empty)}; choose the splits with --valid and --test")
    return splits


def _official(utterances: Sequence[Utterance]) -> dict[str, str]:
    without = [u.id for u in utterances if u.split not in ("train", "dev", "test")]
    if without:
        raise UsageError(
            f"the format needs the splits train, valid and test, but {len(without)} utterances, {without[0]!r} first, "
            "have no official split; choose with --valid session=4 --test session=5"
        )
    return {u.id: "valid" if u.split == "dev" else u.split for u in utterances if u.split is not None}


def _selected(utterances: Sequence[Utterance], valid: str | None, test: str | None) -> dict[str, str]:
    chosen = {split: _select(utterances, split, spec) for split, spec in (("valid", valid), ("test", test))}
    both = chosen["valid"] & chosen["test"]
    if both:
        raise UsageError(f"--valid and --test share {plural(len(both), 'utterance')}, {min(both)!r} first")
    return {u.id: next((s for s, ids in chosen.items() if u.id in ids), "train") for u in utterances}


def _select(utterances: Sequence[Utterance], split: str, spec: str | None) -> set[str]:
    """Ids of the utterances that `KEY=VALUE,...` selects."""
    if spec is None:
        raise UsageError("--valid and --test go together: give both")
    key, _, values = spec.partition("=")
    if key not in KEYS or not values:
        raise UsageError(f"--{split} {spec!r}: expected KEY=VALUE,... with KEY one of {', '.join(KEYS)}")
    selected = set(values.split(","))
    known = {str(getattr(u, key)) for u in utterances}
    unknown = selected - known
    if unknown:
        raise UnknownNameError(f"{key} in --{split}", min(unknown), known)
    return {u.id for u in utterances if getattr(u, key) in selected}
