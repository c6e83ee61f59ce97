"""One feature of an open store: its description, and its values, read from their place in the file without HDF5."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import DataError, UsageError
from emofuse.common.lazy import lazy_property
from emofuse.common.location import Location
from emofuse.common.output.console import plural
from emofuse.store.core.spec import (
    FEATURE_VERSION,
    STORED_DTYPES,
    FeatureSpec,
    decode_values,
    index_digest,
    mark_of,
    source_digest,
)
from emofuse.store.core.store_file import StoreFile
from emofuse.store.hdf5 import safe_read


@dataclass(frozen=True, slots=True)
class Ragged:
    """Utterances of different lengths, end to end."""

    values: NDArray[Any]
    """[sum T, D] or [sum T, L, D], float16 or float32."""
    lengths: NDArray[np.int64]
    """[n], frames T of each utterance."""


class Feature:
    """One feature of an open store: `feature[id]` is the array of one utterance.

    Raises:
        UsageError: It has a newer version than this one knows.
        ForeignLayoutError: Another program has changed the layout of its values.
        DataError: Its index is damaged.
    """

    def __init__(self, file: StoreFile, group: h5py.Group, name: str, utterances: int) -> None:
        self.file = file
        """The store's file: `file.path`, `file.source` (its bytes), `file.manifest`."""
        self.spec = _read_spec(name, group)
        self.name, self.modality, self.encoder = name, self.spec.modality, self.spec.encoder
        self.dimension, self.layers, self.view = self.spec.dimension, self.spec.layers, self.spec.view
        self.frame_rate, self.fingerprint = self.spec.frame_rate, self.spec.fingerprint
        self.provenance, self.is_copy = self.spec.provenance, self.spec.is_copy
        self.rows, self.starts, self.lengths = (safe_read.array(group, k, np.int64) for k in ("row", "start", "length"))
        """[n] each: row in the manifest, first frame and number of frames of each utterance."""
        self._source = safe_read.array(group, "source", "S32")
        self.scale = _read_scale(group, self.spec)
        """int8 only: the value of one step, [D] or [L, D], float32."""
        self.index_digest = safe_read.text(group, "index_digest")
        index = (self.rows, self.starts, self.lengths, self._source)
        if index_digest(self.spec, index if self.scale is None else (*index, self.scale)) != self.index_digest:
            raise DataError("its index is damaged; the digest does not match")
        _check_index(self, utterances)
        self.values_offset, self.mark_offset, self.complete_offset, self.complete = _locate_values(self, group)
        self.seconds_offset = _locate_seconds(self, group)
        """Where the seconds of the encoder are in the file; None in a store of an earlier version."""
        if self.complete and not isinstance(file.path, Path):
            self.marks()  # read now: the object behind a URL may be replaced by another one

    def __repr__(self) -> str:
        shape = ", ".join(["T", *map(str, self.spec.frame_shape)])
        return f"Feature({self.name!r}, {self.modality}: {plural(len(self.rows), 'utterance')}, [{shape}])"

    @property
    def path(self) -> Location:
        """The file that has it."""
        return self.file.path

    @lazy_property
    def ids(self) -> list[str]:
        """Ids of its utterances, in the store's order."""
        ids = self.file.manifest.ids
        return [ids[row] for row in self.rows.tolist()]

    @lazy_property
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
        """Utterances whose audio or text in the manifest is not the one that the values were computed from."""
        utterances = self.file.manifest.utterances
        present = (source_digest(self.modality, utterances[row]) for row in self.rows.tolist())
        # Audio without a digest was never scanned and may be the same; a text that is missing was removed.
        unknown = {None, ""} if self.modality == "audio" else {""}
        return [
            id
            for id, source, current in zip(self.ids, self.sources, present, strict=True)
            if current != source and current not in unknown and source
        ]

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return int(self.lengths.sum()) * self.spec.frame_bytes

    def marks(self) -> NDArray[np.uint64]:
        """[n], the checksum of each utterance, as it is in the file now; 0 means not yet written."""
        return self._final_marks if self.complete else self._read_marks()

    @lazy_property
    def _final_marks(self) -> NDArray[np.uint64]:
        return self._read_marks()

    def _read_marks(self) -> NDArray[np.uint64]:
        return np.frombuffer(self.file.pread(8 * len(self.lengths), self.mark_offset), "<u8")

    def encoder_seconds(self, ids: Sequence[str] | None = None) -> float | None:
        """How long the encoder took for some utterances, or for all of them; None unless that is recorded of each."""
        places = range(len(self.lengths)) if ids is None else [self.position[id] for id in ids]
        seconds = self.seconds_of_each()[list(places)]
        return float(seconds.sum(dtype=np.float64)) if len(seconds) and (seconds > 0).all() else None

    def seconds_of_each(self) -> NDArray[np.float32]:
        """[n], how long the encoder took for each utterance; 0 where that is not recorded."""
        if self.seconds_offset is None:
            return np.zeros(len(self.lengths), np.float32)
        found = np.frombuffer(self.file.pread(4 * len(self.lengths), self.seconds_offset), "<f4")
        return np.where(np.isfinite(found), found, 0).astype(np.float32)

    def __getitem__(self, id: str) -> NDArray[Any]:
        """The values of one utterance, [T, D] or [T, L, D], float16 or float32; their checksum is verified."""
        return self.read([id]).values

    def __contains__(self, id: object) -> bool:
        return id in self.position

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def raw(self, position: int) -> bytes:
        """The stored bytes of one utterance's values; their checksum is not verified."""
        width = self.spec.frame_bytes
        return self.file.pread(
            int(self.lengths[position]) * width, self.values_offset + int(self.starts[position]) * width
        )

    def read(self, ids: Sequence[str], verify: bool = True, out: NDArray[Any] | None = None) -> Ragged:
        """The values of `ids`, in that order, in one buffer.

        Args:
            ids: Utterances of the feature.
            verify: Verify each checksum (about a fifth of the reading time).
            out: A buffer to fill, [at least sum T, ...] in the type that the file stores; allocating a new one takes
                longer than reading.

        Raises:
            UsageError: An id that the feature does not have.
            DataError: Damaged utterances, all named.
        """
        missing = [i for i in ids if i not in self.position]
        if len(missing) == 1:
            raise UsageError(
                f"no utterance {missing[0]!r} in feature {self.name!r} of {self.path}; "
                f"ids are text, such as {self.ids[0]!r}"
            )
        if missing:
            raise UsageError(
                f"feature {self.name!r} of {self.path} is missing {len(missing)} utterances, {missing[0]!r} first"
            )
        positions = [self.position[i] for i in ids]
        lengths = self.lengths[np.array(positions, np.int64)]
        values = self._buffer(int(lengths.sum()), out)
        flat, width = values.reshape(-1).view(np.uint8).data, self.spec.frame_bytes
        marks = self.marks()
        windows = [
            (flat[end - frames * width : end], self.values_offset + int(self.starts[i]) * width)
            for i, frames, end in zip(positions, lengths.tolist(), (np.cumsum(lengths) * width).tolist(), strict=True)
        ]
        damaged = [
            id
            for id, i, window in zip(ids, positions, self.file.source.fill(windows), strict=True)
            if verify and mark_of(window) != marks[i]
        ]
        if damaged:
            raise DataError(
                f"{self.path}: {len(damaged)} utterances of feature {self.name!r} are damaged or not yet "
                f"written, {', '.join(damaged[:5])} first; `emofuse store verify` lists them, and with --repair "
                "drops them, so that `extract` fills them again"
            )
        return Ragged(decode_values(values, self.spec.dtype, self.scale), lengths)

    def _buffer(self, frames: int, out: NDArray[Any] | None) -> NDArray[Any]:
        """A buffer for `frames` frames in the type that the file stores: the beginning of `out`, or a new array."""
        shape, dtype = (frames, *self.spec.frame_shape), STORED_DTYPES[self.spec.dtype]
        values = np.empty(shape, dtype) if out is None else out[:frames]
        if values.shape != shape or values.dtype != dtype or not values.flags.c_contiguous:
            raise UsageError(f"`out` is {values.shape} {values.dtype}; {shape} {dtype} is needed")
        return values

    def damaged(self) -> list[str]:
        """Ids of the utterances whose values do not match their checksum."""
        marks = self.marks().tolist()
        return [id for i, id in enumerate(self.ids) if mark_of(self.raw(i)) != marks[i]]


def _read_spec(name: str, group: h5py.Group) -> FeatureSpec:
    version = safe_read.integer(group, "version")
    if version > FEATURE_VERSION:
        raise UsageError(f"feature {name!r} has version {version}, newer than {FEATURE_VERSION}: update emofuse")
    if version < 1:
        raise DataError(f"it has version {version}, which does not exist")
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
    except UsageError as error:  # a name or type that a store must not have
        raise DataError(str(error)) from None


def _read_scale(group: h5py.Group, spec: FeatureSpec) -> NDArray[np.float32] | None:
    if spec.dtype != "int8":
        return None
    scale: NDArray[np.float32] = safe_read.dataset(group, "scale", np.float32, len(spec.frame_shape))[()]
    if scale.shape != spec.frame_shape or not np.isfinite(scale).all():
        raise DataError(f"its scale has shape {scale.shape} or is not finite; {spec.frame_shape} is expected")
    return scale


def _check_index(feature: Feature, utterances: int) -> None:
    """Check what an index must be: the digest reveals accidents, but a forged file can have a matching one."""
    rows, starts, lengths = feature.rows, feature.starts, feature.lengths
    if not len(rows) or not len(rows) == len(starts) == len(lengths) == len(feature._source):
        raise DataError("its index is empty, or its columns differ in length")
    if rows[0] < 0 or rows[-1] >= utterances or (rows[1:] <= rows[:-1]).any():
        raise DataError(f"its rows are not ascending or reach past the {utterances} utterances of the manifest")
    if lengths.min() < 1 or starts[0] != 0 or (starts[1:] - starts[:-1] != lengths[:-1]).any():
        raise DataError("its utterances do not lie end to end")
    if lengths.astype(np.float64).sum() > 2.0**62:  # in floats, which cannot overflow
        raise DataError("its lengths are larger than any file")


def _locate_seconds(feature: Feature, group: h5py.Group) -> int | None:
    """Byte offset of the seconds of the encoder, which earlier versions did not record."""
    if "encoder_seconds" not in group:
        return None
    seconds = safe_read.dataset(group, "encoder_seconds", np.float32)
    offset: int | None = seconds.id.get_offset()
    if seconds.shape != feature.rows.shape or offset is None or not feature.file.contains(offset, 4 * len(seconds)):
        raise DataError("the seconds of its encoder do not fit its index, or reach past the end of the file")
    return offset


def _locate_values(feature: Feature, group: h5py.Group) -> tuple[int, int, int, bool]:
    """Byte offsets of values, marks and the complete flag, and this flag; each must lie in one extent in the file."""
    spec, frames = feature.spec, int(feature.lengths.sum())
    values = safe_read.dataset(group, "values", STORED_DTYPES[spec.dtype], 1 + len(spec.frame_shape))
    marks, complete = safe_read.dataset(group, "mark", np.uint64), safe_read.dataset(group, "complete", np.uint8)
    if values.shape != (frames, *spec.frame_shape) or marks.shape != feature.rows.shape or complete.shape != (1,):
        raise DataError(f"its values are {values.shape}, its index declares {frames} frames of {spec.frame_shape}")
    chunk_shape = values.chunks
    if chunk_shape is None or chunk_shape[1:] != spec.frame_shape:
        raise safe_read.ForeignLayoutError("its values are not chunked over whole frames")
    chunks = -(-frames // chunk_shape[0])
    first = values.id.get_chunk_info(0).byte_offset
    last = values.id.get_chunk_info(chunks - 1).byte_offset
    if last - first != (chunks - 1) * chunk_shape[0] * spec.frame_bytes:
        raise safe_read.ForeignLayoutError("its values do not lie in one extent")
    offsets = (first, marks.id.get_offset(), complete.id.get_offset())
    for offset, count in zip(offsets, (frames * spec.frame_bytes, 8 * len(feature.rows), 1), strict=True):
        if offset is None or not feature.file.contains(offset, count):
            raise DataError("it reaches past the end of the file, which was cut short")
    return *offsets, bool(complete[0])
