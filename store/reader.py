"""Reads a store: small things through h5py at opening, values by positioned reads straight from the file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import xxhash
from numpy.typing import NDArray

from emofuse.common.errors import DataError, UnknownNameError, UsageError
from emofuse.manifests.schema import Manifest
from emofuse.store.columns import read_columns
from emofuse.store.spec import (
    FEATURE_VERSION,
    RAW,
    STORE_VERSION,
    FeatureSpec,
    decode_values,
    index_digest,
    mark_of,
    source_digest,
)


@dataclass(frozen=True, slots=True)
class Ragged:
    """Utterances of different lengths, end to end."""

    values: NDArray[Any]
    """[sum T, D] or [sum T, L, D], float16 or float32."""
    lengths: NDArray[np.int64]
    """[n], frames of each utterance."""


class Feature:
    """One feature of an open store."""

    def __init__(self, store: FeatureStore, group: h5py.Group) -> None:
        self._store = store
        name = Path(group.name).name
        self.spec = _spec(name, group)
        self.name, self.modality, self.encoder = name, self.spec.modality, self.spec.encoder
        self.dimension, self.layers, self.view = self.spec.dimension, self.spec.layers, self.spec.view
        self.frame_rate, self.fingerprint = self.spec.frame_rate, self.spec.fingerprint
        self.provenance = self.spec.provenance
        self.rows, self.starts, self.lengths = (group[k][()] for k in ("row", "start", "length"))
        self._source = group["source"][()]
        self.index_digest = str(group.attrs["index_digest"])
        if index_digest(self.spec, (self.rows, self.starts, self.lengths, self._source)) != self.index_digest:
            raise DataError(f"{store.path}: the index of feature {name!r} is damaged; its digest does not match")
        self.complete = bool(group["complete"][0])
        self.values_offset, self.mark_offset, self.complete_offset = _extents(group, self.spec, store)

    @property
    def path(self) -> Path:
        """The file that it lies in."""
        return self._store.path

    @cached_property
    def ids(self) -> list[str]:
        """Ids of the utterances that it holds, in the store's order."""
        known = self._store.manifest.ids
        return [known[row] for row in self.rows.tolist()]

    @cached_property
    def position(self) -> dict[str, int]:
        """Utterance id -> its place in the index."""
        return {id: i for i, id in enumerate(self.ids)}

    @property
    def sources(self) -> list[str]:
        """Digest of the audio or text that each utterance's values were computed from."""
        return [s.decode() for s in self._source.tolist()]

    @property
    def stale(self) -> list[str]:
        """Utterances whose audio or text in the manifest is no longer the one that the values came from."""
        utterances = self._store.manifest.utterances
        now = (source_digest(self.modality, utterances[row]) for row in self.rows.tolist())
        return [
            id for id, source, current in zip(self.ids, self.sources, now, strict=True) if current not in (None, source)
        ]

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return int(self.lengths.sum()) * self.spec.frame_bytes

    def marks(self) -> NDArray[np.uint64]:
        """The checksum of each utterance, as they stand in the file now; 0: not yet written."""
        raw = self._store.pread(8 * len(self.lengths), self.mark_offset)
        return np.frombuffer(raw, "<u8")

    def raw(self, position: int) -> bytes:
        """The bytes of one utterance's values, unchecked."""
        width = self.spec.frame_bytes
        return self._store.pread(
            int(self.lengths[position]) * width, self.values_offset + int(self.starts[position]) * width
        )

    def read(self, ids: Sequence[str], verify: bool = True, out: NDArray[Any] | None = None) -> Ragged:
        """The values of `ids`, in that order, in one buffer.

        Args:
            ids: Utterances that the feature holds.
            verify: Recompute each checksum (about a fifth of the reading time).
            out: A buffer to fill, [at least sum T, ...] in the file's own type; a fresh one costs more than reading.

        Raises:
            UsageError: An id that the feature does not hold.
            DataError: Damaged utterances, all named.
        """
        absent = [i for i in ids if i not in self.position]
        if absent:
            raise UsageError(
                f"feature {self.name!r} of {self._store.path} lacks {len(absent)} utterances, {absent[0]!r} first"
            )
        at = np.array([self.position[i] for i in ids], np.int64)
        lengths = self.lengths[at] if len(at) else np.zeros(0, np.int64)
        shape = (int(lengths.sum()), *self.spec.frame_shape)
        values = np.empty(shape, RAW[self.spec.dtype]) if out is None else out[: shape[0]]
        if values.shape != shape or values.dtype != RAW[self.spec.dtype] or not values.flags.c_contiguous:
            raise UsageError(f"`out` is {values.shape} {values.dtype}; {shape} {RAW[self.spec.dtype]} is needed")
        flat, width = values.reshape(-1).view(np.uint8).data, self.spec.frame_bytes
        damaged, done, marks = [], 0, self.marks()
        for id, i, frames in zip(ids, at.tolist(), lengths.tolist(), strict=True):
            window = flat[done : done + frames * width]
            self._store.pread_into(window, self.values_offset + int(self.starts[i]) * width)
            if verify and (xxhash.xxh3_64_intdigest(window) or 1) != marks[i]:
                damaged.append(id)
            done += frames * width
        if damaged:
            raise DataError(
                f"{self._store.path}: {len(damaged)} utterances of feature {self.name!r} are damaged or not yet "
                f"written, {', '.join(damaged[:5])} first; `emofuse store verify` lists them"
            )
        return Ragged(decode_values(values, self.spec.dtype), lengths)

    def damaged(self) -> list[str]:
        """Ids of the utterances whose values do not match their checksum."""
        marks = self.marks().tolist()
        return [id for i, id in enumerate(self.ids) if mark_of(self.raw(i)) != marks[i]]


class FeatureStore:
    """An open store, for reading; use it as a context manager.

    Raises:
        UsageError: No file there, another kind of file, or a version newer than this one knows.
        DataError: Damaged or cut short.
    """

    def __init__(self, path: Path | str) -> None:
        path = Path(path)
        self.path = path
        self._descriptor = -1
        if not path.is_file():
            raise UsageError(f"no store at {path}; make one: extract --dataset NAME --encoder NAME --store {path}")
        self._descriptor = os.open(path, os.O_RDONLY)
        self._length = os.fstat(self._descriptor).st_size
        try:
            with self._hdf5() as file:
                self._check_type(file)
                self.corpus = str(file.attrs["corpus"])
                self.features = {name: Feature(self, file["features"][name]) for name in sorted(file["features"])}
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            self.close()
            raise DataError(f"{path} is damaged, cut short or no store: {error}") from None
        except BaseException:
            self.close()
            raise

    def _hdf5(self) -> h5py.File:
        """HDF5's view of the very file that was opened, also after a writer has put another in its place; no locks."""
        return h5py.File(os.fdopen(os.dup(self._descriptor), "rb"), "r", rdcc_nbytes=0)

    @cached_property
    def manifest(self) -> Manifest:
        """Every utterance that the store knows, read when it is first asked for.

        Raises:
            DataError: Its columns are damaged.
        """
        try:
            with self._hdf5() as file:
                return read_columns(file["manifest"], self.corpus)
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise DataError(f"{self.path}: the manifest is damaged: {error}") from None

    def _check_type(self, file: h5py.File) -> None:
        if file.attrs.get("type") != "emofuse-store":
            raise UsageError(f"{self.path} is an HDF5 file but no emofuse store")
        if int(file.attrs["version"]) > STORE_VERSION:
            raise UsageError(
                f"{self.path} has store version {int(file.attrs['version'])}, newer than {STORE_VERSION}: "
                "update emofuse"
            )

    @property
    def digest(self) -> str:
        """Changes with the manifest and with the index and fingerprint of any feature."""
        parts = [self.manifest.digest(), *(f"{f.name}:{f.index_digest}" for f in self.features.values())]
        return xxhash.xxh3_128_hexdigest("\n".join(parts).encode())

    def feature(self, name: str) -> Feature:
        """A feature by name; an unknown name lists those that the store has."""
        if name not in self.features:
            raise UnknownNameError(f"feature in {self.path}", name, self.features)
        return self.features[name]

    def pread(self, count: int, offset: int) -> bytes:
        """Exactly `count` bytes at `offset`."""
        buffer = bytearray(count)
        self.pread_into(memoryview(buffer), offset)
        return bytes(buffer)

    def pread_into(self, window: memoryview, offset: int) -> None:
        """Fill `window` from `offset`; a file that ends before is an error, never zeros."""
        done = 0
        while done < len(window):
            got = os.preadv(self._descriptor, [window[done:]], offset + done)
            if not got:
                raise DataError(
                    f"{self.path} ends at byte {offset + done}, {len(window) - done} bytes early: it was cut short"
                )
            done += got

    def contains(self, offset: int, count: int) -> bool:
        """Whether the file is long enough to hold `count` bytes at `offset`."""
        return offset >= 0 and count >= 0 and offset + count <= self._length

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _spec(name: str, group: h5py.Group) -> FeatureSpec:
    if int(group.attrs["version"]) > FEATURE_VERSION:
        raise UsageError(
            f"feature {name!r} has version {int(group.attrs['version'])}, newer than {FEATURE_VERSION}: update emofuse"
        )
    rate = float(group.attrs["frame_rate"])
    return FeatureSpec(
        name=name,
        modality=group.attrs["modality"],
        encoder=str(group.attrs["encoder"]),
        dimension=int(group.attrs["dimension"]),
        layers=tuple(int(layer) for layer in group.attrs["layers"]),
        view=str(group.attrs["view"]),
        frame_rate=None if np.isnan(rate) else rate,
        dtype=str(group.attrs["dtype"]),
        fingerprint=json.loads(group["fingerprint"][()].tobytes()),
        provenance=json.loads(group["provenance"][()].tobytes()),
    )


def _extents(group: h5py.Group, spec: FeatureSpec, store: FeatureStore) -> tuple[int, int, int]:
    """Byte offsets of values, marks and the complete flag; checks that each lies in one piece inside the file."""
    values, frames = group["values"], int(group["length"][()].sum())
    if values.shape != (frames, *spec.frame_shape) or values.dtype != RAW[spec.dtype]:
        raise DataError(
            f"{store.path}: feature {spec.name!r} holds {values.shape} {values.dtype}, its index says {frames} frames"
        )
    rows, chunks = values.chunks[0], -(-frames // values.chunks[0])
    first = values.id.get_chunk_info(0).byte_offset
    last = values.id.get_chunk_info(chunks - 1).byte_offset
    if last - first != (chunks - 1) * rows * spec.frame_bytes:
        raise DataError(
            f"{store.path}: the values of {spec.name!r} do not lie in one extent; rewrite it with `emofuse store`"
        )
    offsets = (first, group["mark"].id.get_offset(), group["complete"].id.get_offset())
    for offset, count in zip(offsets, (frames * spec.frame_bytes, 8 * len(group["length"]), 1), strict=True):
        if offset is None or not store.contains(offset, count):
            raise DataError(f"{store.path} is cut short: feature {spec.name!r} reaches past its end")
    return offsets
