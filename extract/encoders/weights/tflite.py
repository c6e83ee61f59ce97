"""Reading the weights of a TensorFlow Lite model without TensorFlow.

The file is one FlatBuffer (https://flatbuffers.dev/internals): tables whose fields are found through offsets. Field
numbers are those of tensorflow/compiler/mlir/lite/schema/schema.fbs. An untrusted file may contain any offset, so each
offset is checked against the file size, and the number of items in a list is limited.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

MARK = b"TFL3"
"""Bytes 4 to 8 of every TensorFlow Lite file."""
# Operator codes, and tensor types as numpy dtypes.
_CONV, _DEPTHWISE, _DEQUANTIZE, _DENSE = 3, 4, 6, 9
_TYPES = {0: "<f4", 1: "<f2", 2: "<i4", 3: "u1", 7: "<i2", 9: "i1"}
_MAX_ITEMS = 20_000  # operators or tensors; YAMNet has 77 and 135
_MAX_AXES = 8
_MAX_SCALES = 1 << 20


class BrokenModelError(Exception):
    """The bytes are not a complete TensorFlow Lite model; the text says why in a few words."""


@dataclass(frozen=True, slots=True)
class _Table:
    """A FlatBuffer table: its fields by number, each located through an offset."""

    data: bytes
    """The whole file."""
    at: int
    """Position of the table in it."""

    def number(self, kind: str, at: int) -> Any:
        """The number of `struct` format `kind` at a position of the file."""
        if at < 0 or at + struct.calcsize(f"<{kind}") > len(self.data):
            raise BrokenModelError("an offset points outside of the file")
        return struct.unpack_from(f"<{kind}", self.data, at)[0]

    def field(self, number: int) -> int:
        """Position of a field; 0 where the table does not have it."""
        entries = self.at - self.number("i", self.at)
        if 4 + 2 * number >= self.number("H", entries):
            return 0
        offset: int = self.number("H", entries + 4 + 2 * number)
        return self.at + offset if offset else 0

    def scalar(self, number: int, kind: str) -> Any:
        """A number; 0 where the table does not have the field."""
        at = self.field(number)
        return self.number(kind, at) if at else 0

    def span(self, number: int, item_bytes: int, limit: int) -> tuple[int, int]:
        """Position of the first item of a list, and the number of items, at most `limit`."""
        at = self.field(number)
        if not at:
            return 0, 0
        start = at + self.number("I", at)
        count: int = self.number("I", start)
        if count > limit or start + 4 + count * item_bytes > len(self.data):
            raise BrokenModelError(f"a list of {count} items does not fit")
        return start + 4, count

    def vector(self, number: int, kind: str, limit: int) -> tuple[Any, ...]:
        """A list of at most `limit` numbers."""
        start, count = self.span(number, struct.calcsize(f"<{kind}"), limit)
        return struct.unpack_from(f"<{count}{kind}", self.data, start)

    def first(self, number: int, kind: str, wanted: int) -> tuple[Any, ...]:
        """The first `wanted` numbers of a list, or all where it has fewer."""
        start, count = self.span(number, struct.calcsize(f"<{kind}"), _MAX_ITEMS)
        return struct.unpack_from(f"<{min(count, wanted)}{kind}", self.data, start)

    def tables(self, number: int) -> list[_Table]:
        """A list of tables."""
        start, count = self.span(number, 4, _MAX_ITEMS)
        return [_Table(self.data, at + self.number("I", at)) for at in range(start, start + 4 * count, 4)]

    def table(self, number: int) -> _Table | None:
        """A table; None where this table does not have the field."""
        at = self.field(number)
        return _Table(self.data, at + self.number("I", at)) if at else None


@dataclass(frozen=True, slots=True)
class ConstantTensor:
    """One constant tensor of a model; `values` copies and converts it."""

    table: _Table
    """The entry of the model's tensor list."""
    buffer: _Table
    """The buffer with its bytes."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that the model declares."""
        return tuple(self.table.vector(0, "i", _MAX_AXES))

    def values(self) -> NDArray[np.float32]:
        """The values, float32 of `shape`; integers are dequantised with one scale, or one scale per index of an axis.

        Raises:
            BrokenModelError: The number of bytes does not match the shape, or the type or the scales are not supported.
        """
        kind = self.table.scalar(1, "b")
        if kind not in _TYPES:
            raise BrokenModelError(f"a tensor is of type {kind}, which is not supported")
        start, size = self.buffer.span(0, 1, len(self.buffer.data))
        if min(self.shape, default=1) < 0 or prod(self.shape) * np.dtype(_TYPES[kind]).itemsize != size:
            raise BrokenModelError(f"a tensor of shape {self.shape} has {size} bytes")
        raw = np.frombuffer(self.buffer.data, _TYPES[kind], prod(self.shape), start).reshape(self.shape)
        quantisation = self.table.table(4)
        if raw.dtype.kind == "f" or quantisation is None:
            return raw.astype(np.float32)
        return self._dequantised(raw, quantisation)

    def _dequantised(self, raw: NDArray[Any], quantisation: _Table) -> NDArray[np.float32]:
        scales = np.array(quantisation.vector(2, "f", _MAX_SCALES), dtype=np.float64)
        zeros = np.array(quantisation.vector(3, "q", _MAX_SCALES) or [0], dtype=np.float64)
        axis = quantisation.scalar(6, "i")
        if not len(scales):
            return raw.astype(np.float32)
        if len(scales) > 1 and not (0 <= axis < raw.ndim and len(scales) == raw.shape[axis]):
            raise BrokenModelError(f"a tensor of shape {raw.shape} has {len(scales)} scales along axis {axis}")
        if len(zeros) not in (1, len(scales)) or not np.isfinite(scales).all():
            raise BrokenModelError("a tensor's scales or zero points are invalid")
        along = [-1 if n == axis else 1 for n in range(raw.ndim)] if len(scales) > 1 else [-1]
        zeros = zeros.reshape(along) if len(zeros) > 1 else zeros
        with np.errstate(over="ignore"):  # `TensorFile.take` refuses infinite values
            return ((raw.astype(np.float64) - zeros) * scales.reshape(along)).astype(np.float32)


def read(data: bytes) -> dict[str, ConstantTensor]:
    """The constant weights of a model's convolutions and dense layers, named by their order.

    Names are `N/conv/kernel` [out, height, width, in] and `N/depthwise_conv/kernel` [1, height, width, channels] for
    the Nth convolution of either kind, from 0, and `N/dense/kernel` [out, in] for the Nth dense layer after the first
    convolution (earlier dense layers compute the spectrogram), each with its `.../bias`. The names inside the file are
    not used: the converter joins the names of all tensors that share a value.

    Raises:
        BrokenModelError: The bytes are not a complete model.
    """
    if data[4:8] != MARK:
        raise BrokenModelError("the mark TFL3 is missing")
    root = _Table(data, 0)
    model = _Table(data, root.number("I", 0))
    codes = [max(code.scalar(0, "b"), code.scalar(3, "i")) for code in model.tables(1)]
    buffers, graphs = model.tables(4), model.tables(2)
    if not graphs:
        raise BrokenModelError("it has no graph")
    tensors = graphs[0].tables(0)
    constants: dict[str, ConstantTensor] = {}
    for name, index in _weights(graphs[0], codes):
        if not 0 <= index < len(tensors):
            raise BrokenModelError(f"{name} is tensor {index} of {len(tensors)}")
        buffer = tensors[index].scalar(2, "I")
        if buffer >= len(buffers):
            raise BrokenModelError(f"{name} lies in buffer {buffer} of {len(buffers)}")
        constants[name] = ConstantTensor(tensors[index], buffers[buffer])
    return constants


def _weights(graph: _Table, codes: list[int]) -> Iterator[tuple[str, int]]:
    """Name and tensor index of every weight, in the order of the operators."""
    dequantised: dict[int, int] = {}
    counts = {"conv": 0, "dense": 0}
    for operator in graph.tables(3):
        index = operator.scalar(0, "I")
        if index >= len(codes):
            raise BrokenModelError(f"an operator is of kind {index} of {len(codes)}")
        code = codes[index]
        inputs = operator.first(1, "i", 3)
        if code == _DEQUANTIZE:
            dequantised.update(zip(operator.first(2, "i", 1), inputs, strict=False))
        kind = {_CONV: "conv", _DEPTHWISE: "depthwise_conv", _DENSE: "dense"}.get(code)
        if kind is None or (kind == "dense" and not counts["conv"]):
            continue
        counter = "dense" if kind == "dense" else "conv"
        for role, tensor in zip(("kernel", "bias"), inputs[1:], strict=False):
            if tensor >= 0:
                yield f"{counts[counter]}/{kind}/{role}", dequantised.get(tensor, tensor)
        counts[counter] += 1
