"""Assembles a store from features of other stores: new metadata, values copied as raw bytes, one rename at the end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emofuse.common.disk.files import copy_permissions, sync_folder
from emofuse.common.disk.positioned import pwrite
from emofuse.common.errors import DataError
from emofuse.manifests.schema import Manifest, Utterance
from emofuse.store.core.feature import Feature
from emofuse.store.core.layout import FeatureLayout, create_store
from emofuse.store.core.partial import draft_path, lock_path, replace_lock
from emofuse.store.core.reader import FeatureStore
from emofuse.store.core.spec import FeatureSpec, encode_values, mark_of, source_digest

PATIENCE = 86_400.0
"""Seconds that a complete feature waits for another writer of its store."""
Candidate = tuple[Feature, int]
"""A feature that has an utterance, and the utterance's position in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSources:
    """A feature of a new store, and where the values of each utterance are now."""

    spec: FeatureSpec
    rows: NDArray[np.int64]
    """[n], ascending rows of the new manifest."""
    pieces: Sequence[Candidate]
    """[n], the feature that has each utterance, and its position there."""
    scale: NDArray[np.float32] | None = None
    """int8 only: the value of one step, [D] or [L, D]."""

    @property
    def layout(self) -> FeatureLayout:
        """Its layout in the new store."""
        return FeatureLayout(
            spec=self.spec,
            rows=self.rows,
            lengths=np.array([f.lengths[i] for f, i in self.pieces], np.int64),
            sources=[f.source(i) for f, i in self.pieces],
            scale=self.scale,
        )


def find_feature_sources(
    manifest: Manifest, features: Sequence[Feature], *, unwritten: bool = False
) -> FeatureSources | None:
    """One feature from several stores: of each utterance in `manifest`, the first that is written.

    Args:
        manifest: The manifest of the new store.
        features: The same feature, of one or more stores.
        unwritten: Keep the place of utterances that are not written yet (in a partial store).

    Returns:
        None where no utterance is left.
    """
    candidates: dict[str, list[Candidate]] = {}
    for feature in features:
        written = feature.marks().astype(bool).tolist()
        for i, (id, is_written) in enumerate(zip(feature.ids, written, strict=True)):
            if is_written or unwritten:
                candidates.setdefault(id, []).append((feature, i))
    rows = [row for row, id in enumerate(manifest.ids) if id in candidates]
    if not rows:
        return None
    pieces = [_choose(candidates[manifest.utterances[row].id], manifest.utterances[row]) for row in rows]
    return FeatureSources(spec=features[0].spec, rows=np.array(rows, np.int64), pieces=pieces, scale=features[0].scale)


def _choose(candidates: Sequence[Candidate], utterance: Utterance) -> Candidate:
    """The first candidate that is not stale and whose values match their checksum."""
    if len(candidates) == 1:
        return candidates[0]
    current = current_sources(candidates, utterance)
    intact = ((f, i) for f, i in current if mark_of(f.raw(i)) == f.marks()[i])
    return next(intact, current[0])


def current_sources(candidates: Sequence[Candidate], utterance: Utterance) -> Sequence[Candidate]:
    """The candidates that were computed from the audio or text that the manifest has now; if none was, all."""
    digest = source_digest(candidates[0][0].modality, utterance)
    return [(f, i) for f, i in candidates if digest in (None, f.source(i))] or candidates


def assemble(path: Path, manifest: Manifest, sources: Sequence[FeatureSources], *, complete: bool = True) -> None:
    """Write a store beside `path`, then move it there in one rename; readers keep the file that they have open.

    Values are copied with their checksums, damaged ones too; where a feature changes its type, they are verified.

    Raises:
        DataError: The disk is full, or a value that cannot be converted; nothing has changed then.
    """
    draft = draft_path(path)
    try:
        with create_store(draft, manifest, [s.layout for s in sources], complete=complete) as store:
            copy_permissions(path, draft)
            with draft.open("r+b") as file:
                for source in sources:
                    copy = _copy_values if _is_same_dtype(source) else _convert_values
                    copy(source, store.features[source.spec.name], file.fileno())
                    _copy_seconds(source, store.features[source.spec.name], file.fileno())
                os.fsync(file.fileno())
        draft.replace(path)
        sync_folder(path.parent)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _is_same_dtype(source: FeatureSources) -> bool:
    features = {id(feature): feature for feature, _ in source.pieces}
    return all(feature.spec.dtype == source.spec.dtype for feature in features.values())


def publish_feature(path: Path, partial: FeatureStore, feature: Feature, manifest: Manifest) -> None:
    """Make the feature of a complete partial store part of the store at `path`, whole or not at all.

    Args:
        path: The store; may not exist yet.
        partial: The partial store, open.
        feature: Its feature, with every utterance written that `manifest` has.
        manifest: What the store should know afterwards, together with what it knows already.
    """
    partial_file = partial.path
    assert isinstance(partial_file, Path)
    with replace_lock(path, wait=PATIENCE):
        if (
            not path.exists()
            and manifest.digest() == partial.manifest.digest()
            and manifest.excluded == partial.manifest.excluded
        ):
            with partial_file.open("r+b") as file:
                pwrite(file.fileno(), b"\x01", feature.complete_offset)
                os.fsync(file.fileno())
            partial_file.replace(path)
        else:
            with contextlib.ExitStack() as stack:
                older = stack.enter_context(FeatureStore(path)).require_intact() if path.exists() else None
                others = [f for f in older.features.values() if f.name != feature.name] if older else []
                merged = manifest.merged_into(older.manifest if older else None)
                assemble(path, merged, [s for f in (*others, feature) if (s := find_feature_sources(merged, [f]))])
            partial_file.unlink()
        lock_path(partial_file).unlink(missing_ok=True)
        sync_folder(path.parent)


def _copy_values(source: FeatureSources, target: Feature, descriptor: int) -> None:
    """Copy values and marks; pieces that are neighbours in both files are copied together."""
    width, offset = target.spec.frame_bytes, target.values_offset
    marks = {id(f): f.marks() for f, _ in source.pieces}
    for feature, first, frames in _contiguous_runs(source.pieces):
        count = frames * width
        feature.file.source.copy_to(descriptor, feature.values_offset + first * width, offset, count)
        offset += count
    ordered = np.array([marks[id(f)][i] for f, i in source.pieces], "<u8")
    pwrite(descriptor, ordered.tobytes(), target.mark_offset)


def _convert_values(source: FeatureSources, target: Feature, descriptor: int) -> None:
    """Read, verify and encode the values of each utterance in the type of the target."""
    width, offset, marks = target.spec.frame_bytes, target.values_offset, []
    for (feature, i), length in zip(source.pieces, target.lengths.tolist(), strict=True):
        values = feature.read([feature.ids[i]]).values
        try:
            raw = encode_values(values, target.spec.dtype, source.scale).tobytes()
        except DataError as error:
            raise DataError(f"{feature.ids[i]}: {error}") from None
        pwrite(descriptor, raw, offset)
        marks.append(mark_of(raw))
        offset += length * width
    pwrite(descriptor, np.array(marks, "<u8").tobytes(), target.mark_offset)


def _copy_seconds(source: FeatureSources, target: Feature, descriptor: int) -> None:
    assert target.seconds_offset is not None
    seconds = {id(f): f.seconds_of_each() for f, _ in source.pieces}
    pwrite(descriptor, np.array([seconds[id(f)][i] for f, i in source.pieces], "<f4").tobytes(), target.seconds_offset)


def _contiguous_runs(pieces: Sequence[Candidate]) -> Iterator[tuple[Feature, int, int]]:
    """(feature, first frame, frames) of each run of pieces that lie end to end in one feature."""
    current: Feature | None = None
    first = frames = 0
    for feature, i in pieces:
        start, length = int(feature.starts[i]), int(feature.lengths[i])
        if feature is current and start == first + frames:
            frames += length
            continue
        if current is not None:
            yield current, first, frames
        current, first, frames = feature, start, length
    if current is not None:
        yield current, first, frames
