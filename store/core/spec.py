"""The description of a feature, and how its values are encoded, checksummed and digested."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from emofuse.common.errors import DataError, UsageError
from emofuse.common.nested import flatten
from emofuse.manifests.schema import Modality, Utterance, text_digest

STORE_VERSION = 1
FEATURE_VERSION = 2
"""The newest version of a feature."""
COPY_MARK = "augmentation"
"""Key of the fingerprint of an augmented copy: how its clips were changed."""
DTYPES = {"fp16": "float16", "fp32": "float32", "bf16": "bfloat16"}
"""Option -> the file's `dtype`; `int8` needs all values at once, and is made of a complete feature."""
STORED_DTYPES: dict[str, np.dtype[Any]] = {
    "float16": np.dtype("<f2"),
    "float32": np.dtype("<f4"),
    "bfloat16": np.dtype("<u2"),
    "int8": np.dtype("i1"),
}
"""The file's `dtype` -> the type of its dataset; HDF5 has no bfloat16, so its 16 bits are stored as integers."""
TRANSCRIPTS_SUFFIX = ".transcripts.jsonl"
"""Suffix of a store's name: the file with recognised texts that are not in the store yet."""
_EXPONENT_BITS: dict[str, np.unsignedinteger[Any]] = {
    "float16": np.uint16(0x7C00),
    "float32": np.uint32(0x7F800000),
    "bfloat16": np.uint16(0x7F80),
}
"""Bits that are all set if and only if a value is infinite or not a number."""
_MAGNITUDE_BITS: dict[str, np.unsignedinteger[Any]] = {
    "float16": np.uint16(0x7FFF),
    "float32": np.uint32(0x7FFFFFFF),
    "bfloat16": np.uint16(0x7FFF),
}
"""All bits except the sign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """A feature without its values.

    Raises:
        UsageError: A name, type or dimension that a feature cannot have.
    """

    name: str
    modality: Modality
    encoder: str
    """The encoder's name in the registry of `extract`."""
    dimension: int
    """D, the width of a frame."""
    layers: tuple[int, ...] = ()
    """The layers along the layer axis; empty where frames are [D], without a layer axis."""
    view: str = "frames"
    """`frames`, or one vector for each utterance: the `mean` of its frames, or their `statistics`."""
    frame_rate: float | None = None
    """Frames per second (Hz); None for text."""
    dtype: str = "float16"
    """float16, float32, bfloat16 or int8 (with a scale per channel)."""
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    """Everything that changes the values; compared."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Recorded, never compared."""

    def __post_init__(self) -> None:
        if not self.name or not all(c.isalnum() or c in "-_.@" for c in self.name) or self.name[0] == ".":
            raise UsageError(f"feature name {self.name!r}: use letters, digits, '-', '_', '.' and '@' only")
        if self.dtype not in STORED_DTYPES:
            raise UsageError(f"no dtype {self.dtype!r}; valid: {', '.join(STORED_DTYPES)}")
        if self.dimension < 1:
            raise UsageError(f"feature {self.name!r} has dimension {self.dimension}; at least 1 is needed")

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """(D,) or (L, D)."""
        return (len(self.layers), self.dimension) if self.layers else (self.dimension,)

    @property
    def is_copy(self) -> bool:
        """Whether it was computed from augmented clips, and so may be used for training only."""
        return COPY_MARK in self.fingerprint

    @property
    def version(self) -> int:
        """2 for an augmented copy, which a reader of version 1 would take for any other feature; else 1."""
        return 2 if self.is_copy else 1

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame in the file."""
        return math.prod(self.frame_shape) * STORED_DTYPES[self.dtype].itemsize


def fingerprint_differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """A line for each field in which two fingerprints differ, such as `augmentation.seed`, with both values."""
    a, b = flatten(stored), flatten(asked)
    return [
        f"{key}: stored {json.dumps(a.get(key))}, asked for {json.dumps(b.get(key))}"
        for key in sorted({*a, *b})
        if a.get(key) != b.get(key)
    ]


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys: equal mappings give equal bytes."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def source_digest(modality: Modality, utterance: Utterance) -> str | None:
    """Digest of the audio or text that a feature is computed from; None where the utterance does not have it."""
    if modality == "audio":
        return utterance.audio_digest
    return utterance.text_digest if utterance.text is None else text_digest(utterance.text)


def mark_of(raw: bytes | memoryview) -> int:
    """Checksum (xxh3-64) of one utterance's bytes; never 0, which means "not yet written"."""
    return xxhash.xxh3_64_intdigest(raw) or 1


def encode_values(values: NDArray[Any], dtype: str, scale: NDArray[np.float32] | None = None) -> NDArray[Any]:
    """Float values in the type of the dataset.

    Args:
        values: [..., D], or [..., L, D] with a layer axis.
        dtype: The file's `dtype`.
        scale: int8 only: the value of one step, [D] or [L, D].

    Returns:
        An array of the same shape, of type `STORED_DTYPES[dtype]`.

    Raises:
        DataError: A value is not finite, or too large for float16.
    """
    if dtype == "int8":
        if not np.isfinite(values).all():
            raise DataError("values that are not finite cannot be stored as int8")
        assert scale is not None
        return np.clip(np.rint(values / scale), -127, 127).astype("i1")
    if dtype == "bfloat16":
        bits = np.ascontiguousarray(values, "<f4").view("<u4").astype(np.uint64)
        stored = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")  # round to nearest, ties to even
    else:
        with np.errstate(over="ignore"):  # a value that does not fit becomes infinite, and is found below
            stored = np.ascontiguousarray(values, STORED_DTYPES[dtype])
    # Without its sign, a value whose exponent bits are all set is at least `_EXPONENT_BITS`. Integers are compared,
    # since float16 is slow.
    bits, magnitude = stored.view(_EXPONENT_BITS[dtype].dtype), _MAGNITUDE_BITS[dtype]
    if stored.size and (bits & magnitude).max() >= _EXPONENT_BITS[dtype]:
        if not np.isfinite(values).all():
            raise DataError("the encoder gave values that are not finite; try --precision fp32")
        largest = float(np.abs(values).max())
        raise DataError(f"value {largest:.0f} does not fit {dtype}; extract with --dtype bf16 or fp32")
    return stored


def decode_values(raw: NDArray[Any], dtype: str, scale: NDArray[np.float32] | None = None) -> NDArray[Any]:
    """Stored values as float16 or float32 values of the same shape."""
    if dtype == "int8":
        assert scale is not None
        widened: NDArray[Any] = np.multiply(raw, scale, dtype=np.float32)
        return widened
    return (raw.astype("<u4") << 16).view("<f4") if dtype == "bfloat16" else raw


def index_digest(spec: FeatureSpec, columns: Sequence[NDArray[Any]]) -> str:
    """Digest (xxh3-128) of a feature's description and of its index columns (and scale, if any)."""
    description = {
        "name": spec.name, "modality": spec.modality, "encoder": spec.encoder, "dimension": spec.dimension,
        "layers": list(spec.layers), "view": spec.view, "frame_rate": spec.frame_rate, "dtype": spec.dtype,
        "fingerprint": spec.fingerprint, "provenance": spec.provenance,
    }  # fmt: skip
    state = xxhash.xxh3_128(canonical_json(description))
    for column in columns:
        state.update(np.ascontiguousarray(column).tobytes())
    return state.hexdigest()
