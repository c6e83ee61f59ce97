"""Makes a store anew without, or with less of, what it holds; every verb ends in one rename or changes nothing."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emofuse.common.disk.files import behind_link
from emofuse.common.disk.locking import lock
from emofuse.common.errors import DataError, UsageError, complain
from emofuse.manifests.schema import WITHDRAWN, Excluded, Manifest
from emofuse.store.core.assemble import Gathered, assemble, gather, writing
from emofuse.store.core.feature import Feature
from emofuse.store.core.partial import partial_path
from emofuse.store.core.reader import FeatureStore
from emofuse.store.core.spec import TRANSCRIPTS


def copy(
    source: FeatureStore,
    target: Path,
    features: Sequence[str] = (),
    dtype: str | None = None,
    *,
    no_text: bool = False,
) -> None:
    """Write a slim store to share.

    Args:
        source: What to copy from.
        target: A new file.
        features: The features to take along; none: all.
        dtype: What the values are stored as; none: as they are. int8 takes one scale per channel, the largest value
            of all utterances at 127.
        no_text: Leave out the texts; each utterance keeps its text's digest.

    Raises:
        UsageError: `target` exists, or a feature that the source lacks.
        DataError: Damaged values where they must be converted, or no room.
    """
    source.require_sound()
    chosen = [source.feature(name) for name in features] or [*source.features.values()]
    manifest = source.manifest.without_text() if no_text else source.manifest
    with writing(target):
        if target.exists():
            raise UsageError(f"{target} exists already; delete it or name another file")
        assemble(target, manifest, [_as(f, dtype, g) for f in chosen if (g := gather(manifest, [f]))])


def remove_features(path: Path, names: Collection[str]) -> int:
    """Write a store anew without some features; the bytes that this gave back.

    Raises:
        UsageError: It has no such feature (all are named), or another process is writing it.
    """
    path = behind_link(path)
    with writing(path, existing=True), FeatureStore(path) as store:
        known = {*store.features, *store.damaged_features}
        complain(
            [_lacking(path, n) for n in names if n not in known], f"{path} has {', '.join(sorted(known)) or 'none'}"
        )
        for name, error in store.damaged_features.items():
            if name not in names:
                raise error
        kept = [f for f in store.features.values() if f.name not in names]
        return rewritten(path, store.manifest, kept)


def _lacking(path: Path, name: str) -> str:
    part = partial_path(path, name)
    return f"no feature {name!r}" + (f"; it is under way in {part.name}, which can be deleted" if part.exists() else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """What was removed."""

    utterances: int
    features: dict[str, int]
    """Feature -> how many of them it held, features under way among them."""
    freed: int
    """Bytes."""


def remove_utterances(
    path: Path, ids: Collection[str], speakers: Collection[str] = (), *, keep_out: bool = False
) -> Withdrawn:
    """Write a store, and what is under way beside it, anew without some utterances: nothing of them stays in any file.

    Args:
        path: The store.
        ids: Utterances that leave.
        speakers: Speakers all of whose utterances leave (they took back their consent).
        keep_out: List their ids as excluded, so that no later `extract` adds them again; without it not even the ids
            stay, and the corpus folder must lose the clips too.

    Raises:
        UsageError: It knows no such utterance or speaker (all are named), or a process is writing the store or a part
            of it.
        DataError: The store or a part of it cannot be read.
    """
    path = behind_link(path)
    with ExitStack() as stack:
        stack.enter_context(writing(path, existing=True))
        begun = [p for end in ("part", "part.new") for p in path.parent.glob(f"{_escaped(path.name)}.*.{end}")]
        parts = sorted({p.with_suffix("") if p.suffix == ".new" else p for p in begun if p.is_file()})
        for part in parts:
            refusal = f"another process is writing {part.name} ({{holder}}); wait for it or stop it"
            stack.enter_context(lock(part.with_name(part.name + ".lock"), refusal))
        for whole in (path, *parts):  # what a killed writer left half-made holds the utterances too
            whole.with_name(whole.name + ".new").unlink(missing_ok=True)
        path.with_name(path.name + TRANSCRIPTS).unlink(missing_ok=True)
        parts = [p for p in parts if p.exists()]
        stores = [stack.enter_context(FeatureStore(path)).require_sound()]
        for part in parts:
            try:
                stores.append(stack.enter_context(FeatureStore(part)).require_sound())
            except DataError as error:
                raise DataError(f"{error}; it may hold what is to be removed: delete it, then run this again") from None
        gone = _meant(stores, ids, speakers)
        unused = [Excluded(id=id, reason=WITHDRAWN) for id in gone if keep_out]
        held: dict[str, int] = {}
        freed = 0
        for store in stores:
            for feature in store.features.values():
                held[feature.name] = held.get(feature.name, 0) + len(set(gone) & set(feature.ids))
            old = store.manifest
            # What was merely listed as excluded leaves that list too.
            manifest = replace(old, excluded=tuple(e for e in old.excluded if e.id not in gone))
            manifest = replace(manifest, utterances=tuple(u for u in old.utterances if u.id not in gone))
            manifest = manifest.excluding(unused)
            where = Path(store.path)
            freed += rewritten(where, manifest, [*store.features.values()], part=where != path)
        return Withdrawn(utterances=len(gone), features=held, freed=freed)


def _meant(stores: Sequence[FeatureStore], ids: Collection[str], speakers: Collection[str]) -> list[str]:
    """The utterances that are named, or are a named speaker's, in a store or a part of it under way."""
    known: dict[str, str | None] = {u.id: u.speaker for s in stores for u in s.manifest.utterances}
    listed = {e.id for s in stores for e in s.manifest.excluded}
    problems = []
    for id in ids:
        if id not in known and id not in listed:
            near = difflib.get_close_matches(id, known, n=3, cutoff=0.3)
            problems.append(f"no utterance {id!r} among {len(known)}" + (f"; near: {', '.join(near)}" if near else ""))
    there = sorted({s for s in known.values() if s is not None})
    problems += [f"no speaker {s!r}; there are {', '.join(there)}" for s in speakers if s not in there]
    complain(problems, f"{stores[0].path} cannot lose what it does not have")
    return list(dict.fromkeys([*ids, *(id for id, speaker in known.items() if speaker in speakers)]))


def add(path: Path, grown: Manifest) -> int:
    """Let a store know the utterances of a corpus that has grown; its features keep what they have.

    Returns:
        How many utterances it did not know.

    Raises:
        UsageError: The manifest is of another corpus or reading of it, or another process is writing the store.
    """
    path = behind_link(path)
    with writing(path, existing=True), FeatureStore(path) as store:
        old = store.require_sound().manifest
        for what, stored, asked in (("corpus", old.corpus, grown.corpus), ("reader", old.reader, grown.reader)):
            if stored != asked:
                raise UsageError(f"{path} is of {what} {stored!r}, the manifest of {asked!r}")
        merged = grown.merged_into(old)
        if merged != old:
            rewritten(path, merged, [*store.features.values()])
        return len(set(merged.ids) - set(old.ids))


def rewritten(path: Path, manifest: Manifest, features: Sequence[Feature], *, part: bool = False) -> int:
    """Write a store (or a part) anew with less or more in it; the bytes that this gave back."""
    before = path.stat().st_size
    assemble(path, manifest, [g for f in features if (g := gather(manifest, [f], unwritten=part))], complete=not part)
    return before - path.stat().st_size


def _as(feature: Feature, dtype: str | None, gathered: Gathered) -> Gathered:
    """The same feature, to be stored as `dtype`."""
    if dtype in (None, feature.spec.dtype):
        return gathered
    assert dtype is not None
    said = {**feature.provenance, "stored_before_as": feature.spec.dtype}
    scale = channel_scale(feature) if dtype == "int8" else None
    return replace(gathered, spec=replace(feature.spec, dtype=dtype, provenance=said), scale=scale)


def channel_scale(feature: Feature) -> NDArray[np.float32]:
    """What one step of int8 is worth in each channel: its largest absolute value over all written utterances / 127.

    Returns:
        [D] or [L, D]; 1 for a channel of zeros alone.

    Raises:
        DataError: Damaged utterances.
    """
    largest = np.zeros(feature.spec.frame_shape, np.float32)
    there = feature.marks().astype(bool).tolist()
    for id, written in zip(feature.ids, there, strict=True):
        if written:
            np.maximum(largest, np.abs(feature.read([id]).values).max(0), out=largest)
    return np.where(largest > 0, largest / np.float32(127), np.float32(1))


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
