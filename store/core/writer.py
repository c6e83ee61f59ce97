"""Writes one feature into a part: a store of its own that grows beside the real one and replaces it in one rename.

A part `X.h5.FEATURE.part` has room for every utterance from its first second. Utterances land in any order, values
before their mark: a killed writer loses at most the batch in flight, and the next call finds out what is missing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.disk.files import behind_link, sync_folder, take_mode
from emofuse.common.disk.locking import lock
from emofuse.common.errors import DataError, UsageError, complain
from emofuse.manifests.schema import Excluded, Manifest
from emofuse.store.core.assemble import publish
from emofuse.store.core.feature import Feature
from emofuse.store.core.layout import FeatureLayout, create
from emofuse.store.core.partial import is_partial, partial_path
from emofuse.store.core.reader import FeatureStore
from emofuse.store.core.spec import FeatureSpec, Modality, differences, encode_values, mark_of, source_digest
from emofuse.store.hdf5.byte_source import pwrite

_SAID_ANEW = ("fitted_on", "batch_budget")
"""What of the provenance may change while a part is under way."""


def refuse_unfit(store: FeatureStore, manifest: Manifest, spec: FeatureSpec) -> None:
    """Refuse to write a feature of `manifest` into a store or part that is made of something else.

    Raises:
        UsageError: It is of another corpus or reading of it, or holds the feature made otherwise (each field is named).
    """
    for what, stored, asked in (
        ("was made for corpus", store.corpus, manifest.corpus),
        ("was read by", store.manifest.reader, manifest.reader),
    ):
        if stored != asked:
            raise UsageError(f"{store.path} {what} {stored!r}, not {asked!r}: name another file with --store")
    store.require_sound()
    older = store.features.get(spec.name)
    if older is None:
        return
    differing = differences(older.fingerprint, spec.fingerprint)
    if older.spec.dtype != spec.dtype:
        differing.append(f"dtype: stored {older.spec.dtype}, asked for {spec.dtype}")
    if differing:
        remedy = f"delete {store.path} to start afresh, or " if is_partial(store.path) else ""
        raise UsageError(
            f"{store.path} holds feature {spec.name!r} made otherwise; {remedy}"
            "store this one under another name with --name\n" + "\n".join(f"  - {d}" for d in differing)
        )


class FeatureWriter:
    """Fills one feature of a store.

    Args:
        path: The store, which may exist already with other features, or with this one for fewer utterances.
        manifest: Every utterance that the store should know.
        spec: The feature.
        lengths: Utterance id -> number of frames, for those that get this feature.
        wait: Seconds to wait for another process that writes the same.

    Raises:
        UsageError: The store or an unfinished part holds this feature with another fingerprint (fields named), the
            store is of another corpus, another process is writing it, or an utterance has no frame.
        DataError: The disk has no room.
    """

    def __init__(
        self, path: Path, manifest: Manifest, spec: FeatureSpec, lengths: Mapping[str, int], *, wait: float = 0.0
    ) -> None:
        path = behind_link(path)
        self.path, self.spec = path, spec
        if spec.dtype == "int8":
            raise UsageError(
                "int8 needs all values at once: write another type, then `emofuse store copy --dtype int8`"
            )
        unknown = sorted(set(lengths) - set(manifest.ids))
        complain([f"{id!r} is not in the manifest" for id in unknown], f"feature {spec.name!r} cannot be written")
        complain(
            [f"{id} has {n} frames" for id, n in lengths.items() if n < 1],
            f"feature {spec.name!r} cannot be written: every utterance needs a frame",
        )
        self.part = partial_path(path, spec.name)
        self.manifest, self.lengths = self._with_older(manifest, lengths)
        rows = [i for i, u in enumerate(self.manifest.utterances) if u.id in self.lengths]
        held = [self.manifest.utterances[i] for i in rows]
        self._plan = FeatureLayout(
            spec=spec,
            rows=np.array(rows, np.int64),
            lengths=np.array([self.lengths[u.id] for u in held], np.int64),
            sources=[source_digest(spec.modality, u) or "" for u in held],
        )
        if not rows:
            raise UsageError(f"no utterance of {manifest.corpus} has {spec.modality}: there is nothing to write")
        refusal = f"another process is writing {self.part.name} ({{holder}}); wait for it or stop it"
        self._lock = lock(self.part.with_name(self.part.name + ".lock"), refusal, wait=wait)
        try:
            self._store = self._open()
        except BaseException:
            self._lock.release(remove=not self.part.exists())
            raise
        self._feature = self._store.features[spec.name]
        self._file = os.open(self.part, os.O_RDWR)
        self._at = {u.id: i for i, u in enumerate(held)}
        self.pending = self._pending()

    def _with_older(self, manifest: Manifest, lengths: Mapping[str, int]) -> tuple[Manifest, Mapping[str, int]]:
        """What was asked for, and what store and part hold: asking for some of a corpus never drops the rest."""
        asked, merged = set(manifest.ids), manifest
        unread = {e.id for e in manifest.excluded if e.modality == self.spec.modality}
        held: dict[str, tuple[int, str]] = {}
        for path in (self.path, self.part):
            if path.exists():
                with FeatureStore(path) as older:
                    refuse_unfit(older, manifest, self.spec)
                    merged = merged.merged_into(older.manifest)
                    feature = older.features.get(self.spec.name)
                    if feature:
                        there = feature.marks().astype(bool).tolist()
                        found = zip(feature.ids, feature.lengths.tolist(), feature.sources, there, strict=True)
                        held |= {id: (frames, source) for id, frames, source, written in found if written}
        # What was not asked for stays, and so does what was, but cannot be read now.
        rest = [u for u in merged.utterances if u.id not in asked or u.id in unread]
        now = {u.id: source_digest(self.spec.modality, u) for u in rest}
        return merged, {**{i: n for i, (n, source) in held.items() if now.get(i) == source}, **lengths}

    def _open(self) -> FeatureStore:
        """The part, as an earlier run left it or laid out anew with what older files already hold."""
        donors: list[FeatureStore] = []
        for path in (self.part, self.path):
            if not path.exists():
                continue
            donor = FeatureStore(path)
            donors.append(donor)
        if donors and donors[0].path == self.part and self._is_mine(donors[0]):
            for other in donors[1:]:
                other.close()
            return donors[0]
        fresh = self.part.with_name(self.part.name + ".new")
        create(fresh, self.manifest, [self._plan], complete=False)
        take_mode(self.path, fresh)
        with FeatureStore(fresh) as store, open(fresh, "r+b") as file:  # noqa: PTH123 - needs a descriptor
            for donor in donors:
                if self.spec.name in donor.features:
                    _carry(donor.features[self.spec.name], store.features[self.spec.name], file.fileno())
            os.fsync(file.fileno())
        for donor in donors:
            donor.close()
        fresh.replace(self.part)
        sync_folder(self.part.parent)
        return FeatureStore(self.part)

    def _is_mine(self, store: FeatureStore) -> bool:
        feature = store.features.get(self.spec.name)
        return (
            feature is not None
            and store.manifest.digest() == self.manifest.digest()
            and np.array_equal(feature.rows, self._plan.rows)
            and np.array_equal(feature.lengths, self._plan.lengths)
            and feature.sources == list(self._plan.sources)
            # These may be said anew, and then count from now on.
            and all(feature.provenance.get(key) == self.spec.provenance.get(key) for key in _SAID_ANEW)
        )

    def _pending(self) -> list[str]:
        """Ids still to be written. A mark alone is not believed: a power cut may leave one without values."""
        marks = self._feature.marks().tolist()
        return [id for id, i in self._at.items() if marks[i] == 0 or mark_of(self._feature.raw(i)) != marks[i]]

    def put(self, id: str, values: NDArray[Any]) -> None:
        """Write one utterance: its values, then its mark.

        Args:
            id: One of the utterances that the writer was opened with.
            values: [T, D] or [T, L, D] with the T that was announced, any float type.

        Raises:
            DataError: Another shape than announced, values that are not finite, or too large for float16.
        """
        i = self._at[id]
        announced = (int(self._plan.lengths[i]), *self.spec.frame_shape)
        if values.shape != announced:
            raise DataError(f"{id}: the encoder gave {values.shape} where {announced} was announced")
        try:
            stored = encode_values(values, self.spec.dtype)
        except DataError as error:
            raise DataError(f"{id}: {error}") from None
        raw = stored.reshape(-1).view(np.uint8).data
        start = int(self._feature.starts[i]) * self.spec.frame_bytes
        pwrite(self._file, raw, self._feature.values_offset + start)
        pwrite(self._file, mark_of(raw).to_bytes(8, "little"), self._feature.mark_offset + 8 * i)

    def flush(self) -> None:
        """Push everything written so far to the disk."""
        os.fdatasync(self._file) if hasattr(os, "fdatasync") else os.fsync(self._file)

    def commit(self, failed: Sequence[Excluded] = ()) -> None:
        """Make the feature part of the store, in one rename; `failed` utterances join the excluded list.

        Raises:
            DataError: Utterances are missing that are not in `failed`.
        """
        gone = {e.id for e in failed}
        marks = self._feature.marks()
        missing = [id for id, i in self._at.items() if not marks[i] and id not in gone]
        if missing:
            raise DataError(
                f"{len(missing)} utterances of {self.spec.name!r} are not written yet, {missing[0]!r} first"
            )
        for id in gone & self._at.keys():  # an earlier run, cut off by a power cut, may have left a mark alone
            pwrite(self._file, bytes(8), self._feature.mark_offset + 8 * self._at[id])
        self.flush()
        publish(self.path, self._store, self._feature, self.manifest.excluding(failed))

    def close(self) -> None:
        """Let go of the part; what was written stays in it."""
        self._store.close()
        os.close(self._file)
        self._lock.release()

    def __enter__(self) -> FeatureWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def delete_partial(path: Path, feature: str) -> None:
    """Delete the part of a finished feature: a writer that was killed after its last rename leaves it behind."""
    part = partial_path(path, feature)
    if not part.exists():
        return
    with contextlib.suppress(UsageError), lock(part.with_name(part.name + ".lock"), "{holder}"):
        part.unlink(missing_ok=True)


def _carry(donor: Feature, target: Feature, descriptor: int) -> None:
    """Copy the utterances whose source has not changed, values and marks, without decoding them."""
    marks, sources = donor.marks().tolist(), donor.sources
    for i, (id, source) in enumerate(zip(target.ids, target.sources, strict=True)):
        j = donor.position.get(id)
        if j is None or sources[j] != source or not marks[j] or donor.lengths[j] != target.lengths[i]:
            continue
        raw = donor.raw(j)
        if mark_of(raw) == marks[j]:
            pwrite(descriptor, raw, target.values_offset + int(target.starts[i]) * target.spec.frame_bytes)
            pwrite(descriptor, marks[j].to_bytes(8, "little"), target.mark_offset + 8 * i)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureData:
    """A feature whose values are already in memory."""

    modality: Modality
    arrays: Mapping[str, NDArray[Any]]
    """Utterance id -> [T, D] or [T, L, D]."""
    encoder: str = "imported"
    layers: tuple[int, ...] = ()
    frame_rate: float | None = None
    dtype: str = "float16"
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)


def write_store(path: Path, manifest: Manifest, features: Mapping[str, FeatureData]) -> None:
    """Write a store from arrays in memory, one feature after the other; the file is whole after each.

    Raises:
        UsageError: Arrays of other shapes than [T, D] (or [T, L, D]) with one D, or ids that the manifest lacks.
        DataError: Values that are not finite or do not fit the type, or no room.
    """
    for name, data in features.items():
        axes = 3 if data.layers else 2
        widths = {a.shape[1:] for a in data.arrays.values() if a.ndim == axes}
        odd = [f"{id}: {a.shape}" for id, a in data.arrays.items() if a.ndim != axes]
        if odd or len(widths) != 1:
            shapes = "[T, L, D]" if data.layers else "[T, D]"
            complain(odd, f"feature {name!r} needs arrays {shapes}")
            raise UsageError(f"feature {name!r} needs arrays {shapes} with one width, got {sorted(widths) or 'none'}")
        spec = FeatureSpec(
            name=name,
            modality=data.modality,
            encoder=data.encoder,
            dimension=next(iter(widths))[-1],
            layers=data.layers,
            frame_rate=data.frame_rate,
            dtype=data.dtype,
            fingerprint=data.fingerprint,
            provenance=data.provenance,
        )
        with FeatureWriter(path, manifest, spec, {id: len(a) for id, a in data.arrays.items()}) as writer:
            for id in writer.pending:
                writer.put(id, data.arrays[id])
            writer.commit()
