"""Puts a store together from features of others: metadata anew, values copied as raw bytes, one rename."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emofuse.common.disk.files import sync_folder, take_mode
from emofuse.common.disk.locking import Lock, lock
from emofuse.common.errors import DataError
from emofuse.manifests.schema import Manifest, Utterance
from emofuse.store.core.feature import Feature
from emofuse.store.core.layout import FeatureLayout, create
from emofuse.store.core.reader import FeatureStore
from emofuse.store.core.spec import FeatureSpec, encode_values, mark_of, source_digest
from emofuse.store.hdf5.byte_source import LocalFile, pwrite

PATIENCE = 86_400.0
"""Seconds that a finished feature waits for another writer of its store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """A feature that is to stand in a new store, and where each utterance's values lie now."""

    spec: FeatureSpec
    rows: NDArray[np.int64]
    """[n], ascending rows of the new manifest."""
    pieces: Sequence[tuple[Feature, int]]
    """[n], the feature that holds each utterance and its place there."""
    scale: NDArray[np.float32] | None = None
    """int8 only."""

    @property
    def plan(self) -> FeatureLayout:
        """How it will be laid out."""
        return FeatureLayout(
            spec=self.spec,
            rows=self.rows,
            lengths=np.array([f.lengths[i] for f, i in self.pieces], np.int64),
            sources=[f.source(i) for f, i in self.pieces],
            scale=self.scale,
        )


def gather(manifest: Manifest, features: Sequence[Feature], *, unwritten: bool = False) -> Gathered | None:
    """One feature from several stores: of each utterance that `manifest` knows, the first that is written.

    Args:
        manifest: What the new store will know.
        features: The same feature, of one or more stores.
        unwritten: Keep the place of utterances that nobody has written yet (in a part).

    Returns:
        None where no utterance is left.
    """
    found: dict[str, list[tuple[Feature, int]]] = {}
    for feature in features:
        there = feature.marks().astype(bool).tolist()
        for i, (id, written) in enumerate(zip(feature.ids, there, strict=True)):
            if written or unwritten:
                found.setdefault(id, []).append((feature, i))
    rows = [row for row, id in enumerate(manifest.ids) if id in found]
    if not rows:
        return None
    pieces = [_best(found[manifest.utterances[row].id], manifest.utterances[row]) for row in rows]
    return Gathered(spec=features[0].spec, rows=np.array(rows, np.int64), pieces=pieces, scale=features[0].scale)


def _best(candidates: Sequence[tuple[Feature, int]], utterance: Utterance) -> tuple[Feature, int]:
    """Of several, the first that is of the present audio or text, and whose values match their checksum."""
    if len(candidates) == 1:
        return candidates[0]
    chosen = fresh(candidates, utterance)
    sound = (c for c in chosen if mark_of(c[0].raw(c[1])) == c[0].marks()[c[1]])
    return next(sound, chosen[0])


def fresh(candidates: Sequence[tuple[Feature, int]], utterance: Utterance) -> Sequence[tuple[Feature, int]]:
    """Those whose values came from the audio or text that the manifest has now; all, where none did."""
    now = source_digest(candidates[0][0].modality, utterance)
    return [(f, i) for f, i in candidates if now in (None, f.source(i))] or candidates


def assemble(path: Path, manifest: Manifest, gathered: Sequence[Gathered], *, complete: bool = True) -> None:
    """Write a store beside `path`, then put it in its place in one rename; readers keep what they have open.

    Values travel with their checksums, damaged ones too; where a feature changes its type, they are checked.

    Raises:
        DataError: No room, or a value that cannot be converted; nothing has changed then.
    """
    new = path.with_name(path.name + ".new")
    try:
        create(new, manifest, [g.plan for g in gathered], complete=complete)
        take_mode(path, new)
        with FeatureStore(new) as store, open(new, "r+b") as file:  # noqa: PTH123 - needs a descriptor
            for one in gathered:
                target = store.features[one.spec.name]
                if all(f.spec.dtype == one.spec.dtype for f in {id(f): f for f, _ in one.pieces}.values()):
                    _copy_all(one, target, file.fileno())
                else:
                    _convert_all(one, target, file.fileno())
            os.fsync(file.fileno())
        new.replace(path)
        sync_folder(path.parent)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def publish(path: Path, part: FeatureStore, feature: Feature, manifest: Manifest) -> None:
    """Make a filled part's feature appear in the store at `path`, whole or not at all; readers keep theirs.

    Args:
        path: The store; may not exist yet.
        part: The part, open.
        feature: Its feature, every utterance of `manifest` that it holds written.
        manifest: What the store should know afterwards, together with what it knows already.
    """
    part_path = Path(part.path)
    with writing(path, wait=PATIENCE):
        if (
            not path.exists()
            and manifest.digest() == part.manifest.digest()
            and manifest.excluded == part.manifest.excluded
        ):
            with open(part_path, "r+b") as file:  # noqa: PTH123 - needs a descriptor
                os.pwrite(file.fileno(), b"\x01", feature.complete_offset)
                os.fsync(file.fileno())
            part_path.replace(path)
        else:
            with contextlib.ExitStack() as stack:
                older = stack.enter_context(FeatureStore(path)).require_sound() if path.exists() else None
                others = [f for f in older.features.values() if f.name != feature.name] if older else []
                merged = manifest.merged_into(older.manifest if older else None)
                assemble(path, merged, [g for f in (*others, feature) if (g := gather(merged, [f]))])
            part_path.unlink()
        part_path.with_name(part_path.name + ".lock").unlink(missing_ok=True)
        sync_folder(path.parent)


def writing(path: Path, *, wait: float = 0.0, existing: bool = False) -> Lock:
    """The lock of whoever puts another file in the place of the store at `path`.

    Args:
        path: The store; no symbolic link (see `behind_link`).
        wait: Seconds to wait for another process.
        existing: There must be a store already.

    Raises:
        UsageError: Another process has it, for longer than `wait` seconds; or there is no store.
    """
    if existing:
        LocalFile(path).close()
    refusal = f"another process is writing {path} ({{holder}}); wait for it or stop it"
    return lock(path.with_name(path.name + ".lock"), refusal, wait=wait)


def _copy_all(gathered: Gathered, target: Feature, descriptor: int) -> None:
    """Copy values and marks; neighbours that stay neighbours go in one piece."""
    width, to = target.spec.frame_bytes, target.values_offset
    marks = {id(f): f.marks() for f, _ in gathered.pieces}
    ordered = np.array([marks[id(f)][i] for f, i in gathered.pieces], "<u8")
    for feature, first, frames in _runs(gathered.pieces):
        count = frames * width
        feature.store.source.copy_to(descriptor, feature.values_offset + first * width, to, count)
        to += count
    pwrite(descriptor, ordered.tobytes(), target.mark_offset)


def _convert_all(gathered: Gathered, target: Feature, descriptor: int) -> None:
    width, at, marks = target.spec.frame_bytes, target.values_offset, []
    for (feature, i), length in zip(gathered.pieces, target.lengths.tolist(), strict=True):
        values = feature.read([feature.ids[i]]).values
        try:
            raw = encode_values(values, target.spec.dtype, gathered.scale).tobytes()
        except DataError as error:
            raise DataError(f"{feature.ids[i]}: {error}") from None
        pwrite(descriptor, raw, at)
        marks.append(mark_of(raw))
        at += length * width
    pwrite(descriptor, np.array(marks, "<u8").tobytes(), target.mark_offset)


def _runs(pieces: Sequence[tuple[Feature, int]]) -> Iterator[tuple[Feature, int, int]]:
    """(feature, first frame, frames) of each run that is contiguous in one feature."""
    held: Feature | None = None
    first = frames = 0
    for feature, i in pieces:
        start, length = int(feature.starts[i]), int(feature.lengths[i])
        if feature is held and start == first + frames:
            frames += length
            continue
        if held is not None:
            yield held, first, frames
        held, first, frames = feature, start, length
    if held is not None:
        yield held, first, frames
