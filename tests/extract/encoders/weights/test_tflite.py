"""The reader of TensorFlow Lite models: every layout of weights, and malicious files."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from patch_samples import CONV, DENSE, DEQUANTIZE, RESHAPE, Table, Vector, flatbuffer, model, tensor

from emofuse.extract.encoders.weights import tflite


def one(shape: tuple[int, ...], data: bytes, kind: str, parts: Table | None = None) -> np.ndarray:
    content = model([(CONV, [0, 1], [0])], [tensor((1,), 0), tensor(shape, 1, kind, parts)], [b"", data])
    return tflite.read(flatbuffer(content))["0/conv/kernel"].values()


def scales(values: list[float], zeros: list[int] | None = None, axis: int = 0) -> Table:
    held: Table = {2: Vector("f", values), 6: ("i", axis)}
    return held if zeros is None else {**held, 3: Vector("q", zeros)}


def test_integers_are_dequantised_per_tensor_and_per_axis() -> None:
    raw = np.arange(-6, 6, dtype="i1").reshape(2, 3, 2)
    np.testing.assert_array_equal(one(raw.shape, raw.tobytes(), "int8", scales([0.5], [3])), (raw - 3.0) * 0.5)
    np.testing.assert_array_equal(one(raw.shape, raw.tobytes(), "int8", scales([0.5])), raw * 0.5)
    each = np.array([0.5, 2, 4], np.float32)
    per_axis = one(raw.shape, raw.tobytes(), "int8", scales([0.5, 2, 4], [0, 0, 0], 1))
    np.testing.assert_array_equal(per_axis, raw * each[:, None])
    shifted = one(raw.shape, raw.tobytes(), "int8", scales([0.5, 2, 4], [1, 2, 3], 1))
    np.testing.assert_array_equal(shifted, (raw - np.array([1.0, 2, 3])[:, None]) * each[:, None])
    unsigned = np.array([0, 128, 255], "u1")
    np.testing.assert_array_equal(one((3,), unsigned.tobytes(), "uint8", scales([0.25], [128])), [-32, 0, 31.75])
    wide = np.array([1 << 20, -5], "<i4")
    np.testing.assert_array_equal(one((2,), wide.tobytes(), "int32", scales([0.5])), [1 << 19, -2.5])
    np.testing.assert_array_equal(one((2,), wide.tobytes(), "int32", {0: Vector("f", [1.0])}), wide)


def test_floats_are_read_as_they_are() -> None:
    values = np.array([[1.5, -2], [0.25, 8]], "<f4")
    np.testing.assert_array_equal(one((2, 2), values.tobytes(), "float32", scales([9.0])), values)
    np.testing.assert_array_equal(one((2, 2), values.astype("<f2").tobytes(), "float16"), values)


def test_weights_are_named_by_their_order() -> None:
    data = np.arange(4, dtype="<f4").tobytes()
    tensors = [tensor((1,), 0), tensor((4,), 1), tensor((2, 2), 1), tensor((4,), 1, "float16"), tensor((4, 1), 0)]
    operators = [
        (DENSE, [0, 1, -1], [0]), (RESHAPE, [0], [0]), (CONV, [0, 1, 2], [0]), (DENSE, [0, 2, -1], [0]),
        (DEQUANTIZE, [2], [4]), (CONV, [0, 4], [0]), (DENSE, [0, 1, 2], [0]),
    ]  # fmt: skip
    held = tflite.read(flatbuffer(model(operators, tensors, [b"", data])))
    assert {name: constant.shape for name, constant in held.items()} == {
        "0/conv/kernel": (4,), "0/conv/bias": (2, 2), "0/dense/kernel": (2, 2), "1/conv/kernel": (2, 2),
        "1/dense/kernel": (4,), "1/dense/bias": (2, 2),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "data", "kind", "parts", "message"),
    [
        ((2, 2), bytes(12), "float32", None, r"a tensor of shape \(2, 2\) has 12 bytes"),
        ((1 << 30, 1 << 30), bytes(12), "float32", None, "has 12 bytes"),
        ((-2, -2), bytes(16), "float32", None, "has 16 bytes"),
        ((2, 2), bytes(4), "int8", scales([1.0, 2, 3]), r"3 scales along axis 0"),
        ((2, 2), bytes(4), "int8", scales([1.0, 2], axis=7), r"2 scales along axis 7"),
        ((2, 2), bytes(4), "int8", scales([1.0, 2], axis=-1), r"2 scales along axis -1"),
        ((2, 2), bytes(4), "int8", scales([1.0], [1, 2]), "scales or zero points are invalid"),
        ((2, 2), bytes(4), "int8", scales([float("nan")]), "scales or zero points are invalid"),
        ((1,) * 9, bytes(4), "float32", None, "a list of 9 items does not fit"),
    ],
)  # fmt: skip
def test_tensors_that_cannot_be_are_refused(
    shape: tuple[int, ...], data: bytes, kind: str, parts: Table | None, message: str
) -> None:
    with pytest.raises(tflite.BrokenModelError, match=message):
        one(shape, data, kind, parts)


def test_numbers_that_point_beyond_their_lists_are_refused() -> None:
    tensors, buffers = [tensor((1,), 0), tensor((1,), 9)], [bytes(4)]
    for operators, message in (
        ([(CONV, [0, 5], [0])], "0/conv/kernel is tensor 5 of 2"),
        ([(CONV, [0, 1], [0])], "0/conv/kernel lies in buffer 9 of 1"),
        ([(DEQUANTIZE, [7], [1]), (CONV, [0, 1], [0])], "0/conv/kernel is tensor 7 of 2"),
    ):
        with pytest.raises(tflite.BrokenModelError, match=message):
            tflite.read(flatbuffer(model(operators, tensors, buffers)))
    unknown = model([(CONV, [0, 0], [0])], tensors, buffers)
    unknown[2][0][3][0][0] = ("I", 40)
    with pytest.raises(tflite.BrokenModelError, match="an operator is of kind 40 of 1"):
        tflite.read(flatbuffer(unknown))
    with pytest.raises(tflite.BrokenModelError, match="no graph"):
        tflite.read(flatbuffer({0: ("I", 3)}))
    with pytest.raises(tflite.BrokenModelError, match="the mark TFL3 is missing"):
        tflite.read(b"")
    strange = np.zeros(1, "<i8")
    held = model([(CONV, [0, 1], [0])], [tensor((1,), 0), {**tensor((1,), 1), 1: ("b", 4)}], [b"", strange.tobytes()])
    with pytest.raises(tflite.BrokenModelError, match="of type 4, which is not supported"):
        tflite.read(flatbuffer(held))["0/conv/kernel"].values()


def _whole() -> bytes:
    data = np.arange(12, dtype="i1").tobytes()
    tensors = [tensor((1,), 0), tensor((3, 4), 1, "int8", scales([1.0, 2, 3], [0, 0, 0])), tensor((3,), 2)]
    operators = [(DEQUANTIZE, [1], [0]), (CONV, [0, 1, 2], [0]), (DENSE, [0, 0, 2], [0])]
    return flatbuffer(model(operators, tensors, [b"", data, bytes(12)]))


def _try(data: bytes) -> None:
    """Whatever the bytes, they end in values or in the reader's own error."""
    try:
        for constant in tflite.read(data).values():
            assert constant.values().size <= len(data)
    except tflite.BrokenModelError:
        pass


def test_no_cut_and_no_flipped_byte_does_harm() -> None:
    whole = _whole()
    _try(whole)
    assert len(tflite.read(whole)) == 4
    for size in range(len(whole)):
        _try(whole[:size])
    rng = np.random.default_rng(0)
    for at in range(len(whole)):
        for value in (0, 255, 128, int(rng.integers(256))):
            _try(whole[:at] + bytes([value]) + whole[at + 1 :])
    for at in range(8, len(whole) - 3):
        for word in (0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, len(whole), 1 << 20):
            _try(whole[:at] + struct.pack("<I", word) + whole[at + 4 :])


def test_a_list_longer_than_any_model_is_refused_before_it_is_walked() -> None:
    held = bytearray(flatbuffer({4: [{}] * 3}))
    many = bytes(held) + bytes(400_000)
    at = many.index(struct.pack("<I", 3), 8)
    with pytest.raises(tflite.BrokenModelError, match="a list of 50000 items does not fit"):
        tflite.read(many[:at] + struct.pack("<I", 50_000) + many[at + 4 :])
