"""The restricted unpickler: it reads what MMSA writes, and nothing else that a pickle can do happens."""

from __future__ import annotations

import contextlib
import os
import pickle
import struct
import time
import tracemalloc
from collections import OrderedDict
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emofuse.common.errors import DataError, UsageError
from emofuse.store.exchange.formats.unpickle import load


def saved(path: Path, value: Any, protocol: int = 4) -> Path:
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_and_containers_of_every_protocol(protocol: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    value = {
        "f4": rng.standard_normal((3, 4, 5)).astype(np.float32),
        "fortran": np.asfortranarray(rng.standard_normal((3, 4))),
        "big": np.arange(5, dtype=">i8"),
        "bool": np.array([True, False]),
        "texts": np.array(["a", "ü"]),
        "objects": np.array(["a", "b"], dtype=object),
        "scalar": np.float32(1.5),
        "empty": np.zeros((0, 3), np.float16),
        "list": ["x", b"y", 1, 2.5, None, True],
        "tuple": (1, 2),
        "ordered": OrderedDict(a=1),
        "long": 1 << 80,
    }
    loaded = load(saved(tmp_path / "a.pkl", value, protocol))
    for key in ("f4", "fortran", "big", "bool", "texts", "empty"):
        np.testing.assert_array_equal(loaded[key], value[key])
        assert loaded[key].dtype == value[key].dtype
    assert loaded["objects"] == ["a", "b"]
    assert loaded["scalar"] == 1.5
    assert loaded["list"] == value["list"]
    assert loaded["tuple"] == [1, 2]
    assert loaded["ordered"] == {"a": 1}
    assert loaded["long"] == 1 << 80


class Runs:
    """Creates a file if its pickle runs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


class Opens(Runs):
    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


class Evaluates(Runs):
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"open({str(self.path)!r}, 'w')",)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(("kind", "name"), [(Runs, "posix.system"), (Opens, "io.open"), (Evaluates, "builtins.eval")])
def test_a_malicious_pickle_is_refused_by_name_and_does_not_run(
    kind: type[Runs], name: str, protocol: int, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    evil = saved(tmp_path / "evil.pkl", {"train": {"audio": np.zeros(3), "id": [kind(ran)]}}, protocol)
    with pytest.raises(DataError, match=name if protocol > 2 or name == "posix.system" else r"(open|eval)"):
        load(evil)
    assert not ran.exists()
    pickle.loads(evil.read_bytes())  # the same bytes do run in the standard library
    assert ran.exists()


RECONSTRUCT = b"cnumpy._core.multiarray\n_reconstruct\n"
NDARRAY = b"cnumpy\nndarray\n"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (RECONSTRUCT + b"(" + NDARRAY + b"(L1000000000000L\ntC\x01bt" + b"R.", "allocated with shape"),
        (NDARRAY + b"(L1000000000000L\ntR.", "not a pickle, cut short or damaged"),
        (NDARRAY + b".", "as a value"),
        (b"cnumpy\nzeros\n(L1000000000000L\ntR.", "numpy.zeros"),
        (b"cbuiltins\nbytearray\n(L1000000000000L\ntR.", "builtins.bytearray"),
        (b"(S'touch x'\nios\nsystem\n.", "os.system"),
        (b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N.", "a frame of"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"N.", "cut short or damaged"),
        (b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"N.", "cut short or damaged"),
        (b"\x80\x05\x96" + struct.pack("<Q", 1 << 60) + b"N.", "cut short or damaged"),
        (b"\x80\x02\x8b" + struct.pack("<i", 1 << 30) + b"N.", "cut short or damaged"),
        (b"\x80\x02Nr" + struct.pack("<I", (1 << 32) - 1) + b".", "memo number"),
        (b"Np4000000000\n.", "memo number"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"Pabc\n.", "PERSID"),
        (b"c_codecs\nencode\n}b.", "a function that is modified"),
        (b"c_codecs\nencode\n(N}tb.", "a function that is modified"),
        (NDARRAY + b"(N}U\x01aK\x01stb.", "damaged"),
        (b"cnumpy\ndtype\n}b.", "a function that is modified"),
        (b"", "is empty"),
        (b"\xff\xfe no pickle", "cut short or damaged"),
        (pickle.dumps({"a": 1})[:-3], "cut short or damaged"),
        (pickle.dumps(Decimal(3)), "decimal.Decimal"),
        (pickle.dumps(Path()), "pathlib"),
        (pickle.dumps(np.zeros(2, [("a", "f4")])), "numpy type"),
        (pickle.dumps(np.array("2020-01-01", "M8[D]")), "numpy type"),
        (pickle.dumps(np.ma.masked_array([1.0])), "numpy.ma"),
        (pickle.dumps(np.random.default_rng(0)), "numpy.random"),
        (pickle.dumps({(1, 2): 3}), "the key of a dict"),
    ],
)
def test_what_else_a_pickle_may_try(raw: bytes, expected: str, tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=expected):
            load(saved(tmp_path / "a.pkl", raw))
        assert tracemalloc.get_traced_memory()[1] < 32e6
    finally:
        tracemalloc.stop()


def test_an_array_that_claims_more_than_its_bytes(tmp_path: Path) -> None:
    honest = pickle.dumps(np.zeros((7, 3), np.float32), protocol=2)
    assert honest.count(b"K\x07K\x03\x86") == 1
    with pytest.raises(DataError, match=r"an array of shape \(127, 3\), f4, from 84 bytes"):
        load(saved(tmp_path / "a.pkl", honest.replace(b"K\x07K\x03\x86", b"K\x7fK\x03\x86")))


@pytest.mark.parametrize("claimed", [1, 3])
def test_an_array_of_objects_that_claims_another_number_of_them(claimed: int, tmp_path: Path) -> None:
    honest = pickle.dumps(np.array(["a", "b"], dtype=object), protocol=2)
    assert honest.count(b"K\x02\x85") == 1
    assert load(saved(tmp_path / "honest.pkl", honest)) == ["a", "b"]
    with pytest.raises(DataError, match="an array of objects that is not a plain list of them"):
        load(saved(tmp_path / "a.pkl", honest.replace(b"K\x02\x85", b"K" + bytes([claimed]) + b"\x85")))


def test_lists_that_hold_each_other_many_times_take_no_time(tmp_path: Path) -> None:
    layer: list[Any] = ["x"] * 10
    for _ in range(25):
        layer = [layer] * 10
    started = time.monotonic()
    loaded = load(saved(tmp_path / "a.pkl", layer))
    assert len(loaded) == 10
    for _ in range(40):
        layer = [layer]
    with pytest.raises(DataError, match="nested more than"):
        load(saved(tmp_path / "b.pkl", layer))
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(DataError, match="nested more than"):
        load(saved(tmp_path / "c.pkl", ring))
    assert time.monotonic() - started < 5


def test_bytes_that_expand_to_many_times_the_file(tmp_path: Path) -> None:
    text = b"X" + struct.pack("<I", 100_000) + b"a" * 100_000
    raw = (
        b"\x80\x02c_codecs\nencode\nq\x02"
        + text
        + b"q\x00X\x06\x00\x00\x00latin1q\x01("
        + b"h\x02h\x00h\x01\x86R" * 2000
    )
    with pytest.raises(DataError, match="expands to many times its size"):
        load(saved(tmp_path / "a.pkl", raw + b"t."))


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        load(tmp_path)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_whatever_byte_is_broken_it_is_read_or_refused(protocol: int, tmp_path: Path) -> None:
    whole = pickle.dumps({"a": np.arange(6.0).reshape(2, 3), "b": ["x", np.float32(1)], "c": np.array(["y"])}, protocol)
    rng = np.random.default_rng(protocol)
    for _ in range(400):
        broken = bytearray(whole)
        for place in rng.integers(0, len(whole), 2):
            broken[place] = rng.integers(0, 256)
        with contextlib.suppress(DataError):  # anything else is a failure
            load(saved(tmp_path / "a.pkl", bytes(broken)))
