"""One feature of an open store: what is said of it, and its values by positioned reads straight from the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import DataError, UsageError
from emofuse.common.lazy import lazy
from emofuse.common.location import Location
from emofuse.store.core.spec import (
    FEATURE_VERSION,
    RAW,
    FeatureSpec,
    decode_values,
    index_digest,
    mark_of,
    source_digest,
)
from emofuse.store.hdf5 import safe_read

if TYPE_CHECKING:
    from emofuse.store.core.reader import FeatureStore


@dataclass(frozen=True, slots=True)
class Ragged:
    """Utterances of different lengths, end to end."""

    values: NDArray[Any]
    """[sum T, D] or [sum T, L, D], float16 or float32."""
    lengths: NDArray[np.int64]
    """[n], frames of each utterance."""


class Feature:
    """One feature of an open store."""

    def __init__(self, store: FeatureStore, group: h5py.Group, name: str, utterances: int) -> None:
        self._store = store
        self.spec = _spec(name, group)
        self.name, self.modality, self.encoder = name, self.spec.modality, self.spec.encoder
        self.dimension, self.layers, self.view = self.spec.dimension, self.spec.layers, self.spec.view
        self.frame_rate, self.fingerprint = self.spec.frame_rate, self.spec.fingerprint
        self.provenance = self.spec.provenance
        self.rows, self.starts, self.lengths = (safe_read.array(group, k, np.int64) for k in ("row", "start", "length"))
        self._source = safe_read.array(group, "source", "S32")
        self.scale = _scale(group, self.spec)
        """int8 only: what one step is worth, [D] or [L, D], float32."""
        self.index_digest = safe_read.text(group, "index_digest")
        index = (self.rows, self.starts, self.lengths, self._source)
        if index_digest(self.spec, index if self.scale is None else (*index, self.scale)) != self.index_digest:
            raise DataError("its index is damaged; the digest does not match")
        _check_index(self, utterances)
        self.complete = bool(safe_read.array(group, "complete", np.uint8)[0])
        self.values_offset, self.mark_offset, self.complete_offset = _extents(self, group)
        if self.complete and not isinstance(store.path, Path):
            self.marks()  # now: somebody may put another object in the place of this one

    @property
    def store(self) -> FeatureStore:
        """The store that it belongs to."""
        return self._store

    @property
    def path(self) -> Location:
        """The file that it lies in."""
        return self._store.path

    @lazy
    def ids(self) -> list[str]:
        """Ids of the utterances that it holds, in the store's order."""
        known = self._store.manifest.ids
        return [known[row] for row in self.rows.tolist()]

    @lazy
    def position(self) -> dict[str, int]:
        """Utterance id -> its place in the index."""
        return {id: i for i, id in enumerate(self.ids)}

    def source(self, position: int) -> str:
        """Digest of the audio or text that one utterance's values were computed from."""
        return bytes(self._source[position]).decode("ascii", "replace")

    @property
    def sources(self) -> list[str]:
        """Digest of the audio or text that each utterance's values were computed from."""
        return [s.decode("ascii", "replace") for s in self._source.tolist()]

    @property
    def stale(self) -> list[str]:
        """Utterances whose audio or text in the manifest is no longer the one that the values came from."""
        utterances = self._store.manifest.utterances
        now = (source_digest(self.modality, utterances[row]) for row in self.rows.tolist())
        # Audio that nobody has looked at may be the same; a text that is gone (its audio was changed) is not.
        unknown = {None, ""} if self.modality == "audio" else {""}
        return [
            id
            for id, source, current in zip(self.ids, self.sources, now, strict=True)
            if current != source and current not in unknown and source
        ]

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return int(self.lengths.sum()) * self.spec.frame_bytes

    def marks(self) -> NDArray[np.uint64]:
        """The checksum of each utterance, as they stand in the file now; 0: not yet written."""
        return self._kept_marks if self.complete else self._marks()

    @lazy
    def _kept_marks(self) -> NDArray[np.uint64]:
        return self._marks()

    def _marks(self) -> NDArray[np.uint64]:
        return np.frombuffer(self._store.pread(8 * len(self.lengths), self.mark_offset), "<u8")

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
        damaged, marks = [], self.marks()
        ends = np.cumsum(lengths) * width
        windows = [
            (flat[end - frames * width : end], self.values_offset + int(self.starts[i]) * width)
            for i, frames, end in zip(at.tolist(), lengths.tolist(), ends.tolist(), strict=True)
        ]
        for id, i, window in zip(ids, at.tolist(), self._store.source.fill(windows), strict=True):
            if verify and mark_of(window) != marks[i]:
                damaged.append(id)
        if damaged:
            raise DataError(
                f"{self._store.path}: {len(damaged)} utterances of feature {self.name!r} are damaged or not yet "
                f"written, {', '.join(damaged[:5])} first; `emofuse store verify` lists them, and with --repair "
                "drops them, so that `extract` fills them again"
            )
        return Ragged(decode_values(values, self.spec.dtype, self.scale), lengths)

    def damaged(self) -> list[str]:
        """Ids of the utterances whose values do not match their checksum."""
        marks = self.marks().tolist()
        return [id for i, id in enumerate(self.ids) if mark_of(self.raw(i)) != marks[i]]


def _spec(name: str, group: h5py.Group) -> FeatureSpec:
    version = safe_read.integer(group, "version")
    if version > FEATURE_VERSION:
        raise UsageError(f"feature {name!r} has version {version}, newer than {FEATURE_VERSION}: update emofuse")
    if version < 1:
        raise DataError(f"it has version {version}, which there never was")
    rate, modality = safe_read.number(group, "frame_rate"), safe_read.text(group, "modality")
    if modality not in ("audio", "text"):
        raise DataError(f"its modality is {modality!r}, expected audio or text")
    try:
        return FeatureSpec(
            name=name,
            modality="audio" if modality == "audio" else "text",
            encoder=safe_read.text(group, "encoder"),
            dimension=safe_read.integer(group, "dimension"),
            layers=safe_read.integers(group, "layers"),
            view=safe_read.text(group, "view"),
            frame_rate=None if rate != rate else rate,
            dtype=safe_read.text(group, "dtype"),
            fingerprint=safe_read.mapping(group, "fingerprint"),
            provenance=safe_read.mapping(group, "provenance"),
        )
    except UsageError as error:  # a name or type that nobody may write
        raise DataError(str(error)) from None


def _scale(group: h5py.Group, spec: FeatureSpec) -> NDArray[np.float32] | None:
    if spec.dtype != "int8":
        return None
    found: NDArray[np.float32] = safe_read.dataset(group, "scale", np.float32, len(spec.frame_shape))[()]
    if found.shape != spec.frame_shape or not np.isfinite(found).all():
        raise DataError(f"its scale has shape {found.shape} or is not finite; {spec.frame_shape} is expected")
    return found


def _check_index(feature: Feature, utterances: int) -> None:
    """A digest tells accidents; that the index is one at all must hold for a stranger's file too."""
    rows, starts, lengths = feature.rows, feature.starts, feature.lengths
    if not len(rows) or not len(rows) == len(starts) == len(lengths) == len(feature._source):
        raise DataError("its index is empty, or its columns differ in length")
    if rows[0] < 0 or rows[-1] >= utterances or (rows[1:] <= rows[:-1]).any():
        raise DataError(f"its rows are not ascending or reach past the {utterances} utterances of the manifest")
    # Compared in floats as well, which cannot wrap around.
    if lengths.min() < 1 or starts[0] != 0 or (starts[1:] - starts[:-1] != lengths[:-1]).any():
        raise DataError("its utterances do not lie end to end")
    if lengths.astype(np.float64).sum() > 2.0**62:
        raise DataError("its lengths are larger than any file")


def _extents(feature: Feature, group: h5py.Group) -> tuple[int, int, int]:
    """Byte offsets of values, marks and the complete flag; checks that each lies in one piece inside the file."""
    spec, frames = feature.spec, int(feature.lengths.sum())
    values = safe_read.dataset(group, "values", RAW[spec.dtype], 1 + len(spec.frame_shape))
    marks, complete = safe_read.dataset(group, "mark", np.uint64), safe_read.dataset(group, "complete", np.uint8)
    if values.shape != (frames, *spec.frame_shape) or marks.shape != feature.rows.shape or complete.shape != (1,):
        raise DataError(f"its values are {values.shape}, its index says {frames} frames of {spec.frame_shape}")
    if values.chunks is None or values.chunks[1:] != spec.frame_shape:
        raise safe_read.ForeignLayoutError("its values are not chunked over whole frames")
    rows, chunks = values.chunks[0], -(-frames // values.chunks[0])
    first = values.id.get_chunk_info(0).byte_offset
    last = values.id.get_chunk_info(chunks - 1).byte_offset
    if last - first != (chunks - 1) * rows * spec.frame_bytes:
        raise safe_read.ForeignLayoutError("its values do not lie in one extent")
    offsets = (first, marks.id.get_offset(), complete.id.get_offset())
    for offset, count in zip(offsets, (frames * spec.frame_bytes, 8 * len(feature.rows), 1), strict=True):
        if offset is None or not feature.store.contains(offset, count):
            raise DataError("it reaches past the end of the file, which was cut short")
    return offsets
