"""Writes one feature into a partial store, beside the store; one rename makes the finished feature part of the store.

A partial store `X.h5.FEATURE.part` reserves space for every utterance from the start. Utterances are written in any
order, the values before their mark: a killed writer loses at most the current batch, and the next run finds the
missing utterances.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.disk.files import copy_permissions, resolve_link, sync_folder
from emofuse.common.disk.positioned import pwrite
from emofuse.common.errors import DataError, UsageError, raise_problems
from emofuse.manifests.schema import Excluded, Manifest
from emofuse.store.core.assemble import publish_feature
from emofuse.store.core.feature import Feature
from emofuse.store.core.layout import FeatureLayout, create_store
from emofuse.store.core.partial import draft_path, is_partial, partial_lock, partial_path
from emofuse.store.core.reader import FeatureStore
from emofuse.store.core.spec import FeatureSpec, encode_values, fingerprint_differences, mark_of, source_digest

_REPLACEABLE_PROVENANCE = ("fitted_on", "batch_budget")
"""Provenance that a resumed run may change; the feature then has the new value."""


def require_matching_store(store: FeatureStore, manifest: Manifest, spec: FeatureSpec) -> None:
    """Refuse to write a feature of `manifest` into a store or partial store that it does not belong to.

    Raises:
        UsageError: The store is of another corpus or corpus reader, or has the feature with different settings (each
            field is named).
        DataError: A feature of the store is damaged.
    """
    for what, stored, requested in (
        ("was made for corpus", store.corpus, manifest.corpus),
        ("was read by", store.manifest.reader, manifest.reader),
    ):
        if stored != requested:
            raise UsageError(f"{store.path} {what} {stored!r}, not {requested!r}: name another file with --store")
    store.require_intact()
    if spec.name not in store:
        return
    older = store[spec.name]
    differing = fingerprint_differences(older.fingerprint, spec.fingerprint)
    if older.spec.dtype != spec.dtype:
        differing.append(f"dtype: stored {older.spec.dtype}, asked for {spec.dtype}")
    if differing:
        remedy = f"delete {store.path} to start again, or " if is_partial(store.path) else ""
        raise UsageError(
            f"{store.path} has feature {spec.name!r} made with different settings; {remedy}"
            "store this one under another name with --name\n" + "\n".join(f"  - {d}" for d in differing)
        )


class FeatureWriter:
    """Writes one feature of a store; use it as a context manager, and `commit` when `pending` is empty.

    Args:
        path: The store, which may already exist with other features, or with this one for fewer utterances.
        manifest: Every utterance that the store should list.
        spec: The feature.
        lengths: Utterance id -> number of frames, for the utterances that get this feature.
        wait: Seconds to wait for another process that writes the same feature.

    Raises:
        UsageError: The store or its partial store has this feature with another fingerprint (fields named), the store
            is of another corpus, another process is writing the feature, or an utterance has no frame.
        DataError: The disk has no space.
    """

    manifest: Manifest
    """The requested utterances, and those that the store already had."""
    lengths: Mapping[str, int]
    """Utterance id -> frames, of the requested utterances and of those that the store already had."""

    def __init__(
        self, path: Path, manifest: Manifest, spec: FeatureSpec, lengths: Mapping[str, int], *, wait: float = 0.0
    ) -> None:
        path = resolve_link(path)
        self.path, self.spec = path, spec
        self.partial = partial_path(path, spec.name)
        _check_request(manifest, spec, lengths)
        self._lock = partial_lock(self.partial, wait=wait)
        try:
            self._store = self._open_partial(manifest, lengths)
        except BaseException:
            self._lock.release(remove=not self.partial.exists())
            raise
        self._feature = self._store[spec.name]
        self._file = os.open(self.partial, os.O_RDWR)
        self._positions = {self.manifest.utterances[row].id: i for i, row in enumerate(self._layout.rows.tolist())}
        self.pending = self._pending()
        """Ids of the utterances still to write."""

    def _open_partial(self, manifest: Manifest, lengths: Mapping[str, int]) -> FeatureStore:
        """The partial store: as an earlier run left it, or a new one with the values of older files."""
        with contextlib.ExitStack() as stack:
            older = [stack.enter_context(FeatureStore(p)) for p in (self.path, self.partial) if p.exists()]
            for store in older:
                require_matching_store(store, manifest, self.spec)
            self.manifest, self.lengths = self._include_older(older, manifest, lengths)
            self._layout = self._plan_layout()
            if older and older[-1].path == self.partial and self._can_resume(older[-1]):
                stack.pop_all()
                for store in older[:-1]:
                    store.close()
                return older[-1]
            return self._create_partial(older)

    def _include_older(
        self, older: Sequence[FeatureStore], manifest: Manifest, lengths: Mapping[str, int]
    ) -> tuple[Manifest, Mapping[str, int]]:
        """The request joined with what older files have: requesting some utterances never drops the others."""
        merged = manifest
        written: dict[str, tuple[int, str]] = {}
        """Utterance id -> frames and source digest."""
        for store in older:
            merged = merged.merged_into(store.manifest)
            if self.spec.name in store:
                feature = store[self.spec.name]
                marks = feature.marks().tolist()
                columns = zip(feature.ids, feature.lengths.tolist(), feature.sources, marks, strict=True)
                written |= {id: (frames, source) for id, frames, source, mark in columns if mark}
        # A requested utterance that cannot be read now keeps its values, too.
        requested = set(manifest.ids) - {e.id for e in manifest.excluded if e.modality == self.spec.modality}
        others = {u.id: source_digest(self.spec.modality, u) for u in merged.utterances if u.id not in requested}
        kept = {id: frames for id, (frames, source) in written.items() if others.get(id) == source}
        return merged, {**kept, **lengths}

    def _plan_layout(self) -> FeatureLayout:
        rows = [row for row, u in enumerate(self.manifest.utterances) if u.id in self.lengths]
        if not rows:
            raise UsageError(
                f"no utterance of {self.manifest.corpus} has {self.spec.modality}: there is nothing to write"
            )
        utterances = [self.manifest.utterances[row] for row in rows]
        return FeatureLayout(
            spec=self.spec,
            rows=np.array(rows, np.int64),
            lengths=np.array([self.lengths[u.id] for u in utterances], np.int64),
            sources=[source_digest(self.spec.modality, u) or "" for u in utterances],
        )

    def _can_resume(self, store: FeatureStore) -> bool:
        """Whether a partial store has the layout that this writer needs."""
        if self.spec.name not in store or store.manifest.digest() != self.manifest.digest():
            return False
        feature = store[self.spec.name]
        return (
            np.array_equal(feature.rows, self._layout.rows)
            and np.array_equal(feature.lengths, self._layout.lengths)
            and feature.sources == list(self._layout.sources)
            and all(feature.provenance.get(key) == self.spec.provenance.get(key) for key in _REPLACEABLE_PROVENANCE)
        )

    def _create_partial(self, older: Sequence[FeatureStore]) -> FeatureStore:
        draft = draft_path(self.partial)
        store = create_store(draft, self.manifest, [self._layout], complete=False)
        try:
            copy_permissions(self.path, draft)
            with draft.open("r+b") as file:
                for donor in reversed(older):
                    if self.spec.name in donor:
                        _copy_written(donor[self.spec.name], store[self.spec.name], file.fileno())
                os.fsync(file.fileno())
            store.file.rename(self.partial)
            sync_folder(self.partial.parent)
        except BaseException:
            store.close()
            raise
        return store

    def _pending(self) -> list[str]:
        """Ids still to be written. A mark is verified: after a power cut it may be there without its values."""
        marks = self._feature.marks().tolist()
        return [id for id, i in self._positions.items() if marks[i] == 0 or mark_of(self._feature.raw(i)) != marks[i]]

    def put(self, id: str, values: NDArray[Any], seconds: float = 0.0) -> None:
        """Write one utterance: its values, then its mark.

        Args:
            id: One of the utterances that the writer was opened with.
            values: [T, D] or [T, L, D] with the T that was announced in `lengths`, any float type.
            seconds: How long the encoder took for it; 0 where that is not known.

        Raises:
            DataError: Another shape than announced, values that are not finite, or too large for float16.
        """
        i = self._positions[id]
        announced = (int(self._layout.lengths[i]), *self.spec.frame_shape)
        if values.shape != announced:
            raise DataError(f"{id}: the encoder gave {values.shape} where {announced} was announced")
        try:
            stored = encode_values(values, self.spec.dtype)
        except DataError as error:
            raise DataError(f"{id}: {error}") from None
        raw = stored.reshape(-1).view(np.uint8).data
        start = int(self._feature.starts[i]) * self.spec.frame_bytes
        pwrite(self._file, raw, self._feature.values_offset + start)
        if self._feature.seconds_offset is not None:
            pwrite(self._file, np.float32(seconds).tobytes(), self._feature.seconds_offset + 4 * i)
        pwrite(self._file, mark_of(raw).to_bytes(8, "little"), self._feature.mark_offset + 8 * i)

    def flush(self) -> None:
        """Push everything written so far to the disk."""
        os.fdatasync(self._file) if hasattr(os, "fdatasync") else os.fsync(self._file)

    def commit(self, failed: Sequence[Excluded] = ()) -> None:
        """Make the feature part of the store, in one rename; `failed` utterances join the excluded list.

        Raises:
            DataError: Utterances are missing that are not in `failed`.
        """
        failed_ids = {e.id for e in failed}
        marks = self._feature.marks()
        missing = [id for id, i in self._positions.items() if not marks[i] and id not in failed_ids]
        if missing:
            raise DataError(
                f"{len(missing)} utterances of {self.spec.name!r} are not written yet, {missing[0]!r} first"
            )
        for id in failed_ids & self._positions.keys():  # a power cut may have left a mark without its values
            pwrite(self._file, bytes(8), self._feature.mark_offset + 8 * self._positions[id])
        self.flush()
        publish_feature(self.path, self._store, self._feature, self.manifest.excluding(failed))

    def close(self) -> None:
        """Close the partial store; what was written stays in it."""
        self._store.close()
        os.close(self._file)
        self._lock.release()

    def __enter__(self) -> FeatureWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_request(manifest: Manifest, spec: FeatureSpec, lengths: Mapping[str, int]) -> None:
    if spec.dtype == "int8":
        raise UsageError("int8 needs all values at once: write another type, then `emofuse store copy --dtype int8`")
    unknown = sorted(set(lengths) - set(manifest.ids))
    raise_problems([f"{id!r} is not in the manifest" for id in unknown], f"feature {spec.name!r} cannot be written")
    raise_problems(
        [f"{id} has {n} frames" for id, n in lengths.items() if n < 1],
        f"feature {spec.name!r} cannot be written: every utterance needs a frame",
    )


def _copy_written(donor: Feature, target: Feature, descriptor: int) -> None:
    """Copy values and marks of the utterances whose source has not changed, without decoding them."""
    marks, sources, seconds = donor.marks().tolist(), donor.sources, donor.seconds_of_each()
    for i, (id, source) in enumerate(zip(target.ids, target.sources, strict=True)):
        j = donor.position.get(id)
        if j is None or sources[j] != source or not marks[j] or donor.lengths[j] != target.lengths[i]:
            continue
        raw = donor.raw(j)
        if mark_of(raw) == marks[j]:
            pwrite(descriptor, raw, target.values_offset + int(target.starts[i]) * target.spec.frame_bytes)
            if target.seconds_offset is not None:
                pwrite(descriptor, seconds[j].tobytes(), target.seconds_offset + 4 * i)
            pwrite(descriptor, marks[j].to_bytes(8, "little"), target.mark_offset + 8 * i)
