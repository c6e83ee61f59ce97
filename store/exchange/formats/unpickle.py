"""Reads pickles of plain containers and numpy arrays, and runs no code of the file.

A pickle is a program. This reader lets it build dicts, lists, tuples, sets, text, bytes and numbers. For the few numpy
names that arrays are built with it has stand-ins, which check every claimed size against the bytes present; any other
name is refused. Before that, the opcodes are scanned once without running them: a length, frame or memo number that
exceeds the file is found before anything is allocated.
"""

from __future__ import annotations

import math
import mmap
import pickle
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import DataError, UsageError
from emofuse.common.output.console import printable

DTYPE = re.compile(r"[<>=|]?[biufSUO]\d*")
EXPANSION = 4
"""Bytes that a pickle may decode to, as a multiple of its size."""
DEEPEST = 32
"""Nested containers, at most."""


class _RefusedError(Exception):
    """A pickle tries something that is not allowed; never leaves this module."""


class _NdarrayName:
    """Placeholder for the class numpy.ndarray in a pickle; cannot be called, and no attribute can be set."""

    __slots__ = ()


NDARRAY = _NdarrayName()


class _Function:
    """Placeholder for a function that a pickle may call but not modify."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise _RefusedError("a function that is modified")


class _Dtype:
    """Placeholder for a numpy dtype while the pickle builds it; the parameters are those that pickles pass."""

    def __init__(self, name: Any = None, align: Any = False, copy: Any = False) -> None:
        if not isinstance(name, str) or not DTYPE.fullmatch(name):
            raise _RefusedError(f"the numpy type {str(name)[:40]!r}")
        self.name, self.order = name, "="

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "=", "|") or any(state[2:5]):
            raise _RefusedError("a numpy type with fields or a shape")
        self.order = state[1]

    def build(self) -> np.dtype[Any]:
        """The dtype itself."""
        return np.dtype(self.order + self.name.lstrip("<>=|"))


class _Array:
    """Placeholder for an array while the pickle builds it; `value` is the finished array."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader
        self.value: NDArray[Any] | list[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise _RefusedError("an array with an unknown state")
        _, shape, dtype, fortran, raw = state
        self.value = self._reader.array(raw, dtype, shape, "F" if fortran else "C")


class _Reader(pickle.Unpickler):
    """Python's unpickler, which knows the placeholders and no other name."""

    def __init__(self, file: mmap.mmap) -> None:
        super().__init__(file, encoding="latin1")  # as Python 2's arrays need it  # type: ignore[arg-type]
        self._bytes_left = EXPANSION * len(file) + 4096
        functions: dict[tuple[str, str], Callable[..., Any]] = {
            ("_codecs", "encode"): self._encode,
            ("numpy", "dtype"): _Dtype,
            ("collections", "OrderedDict"): self._ordered_dict,
        }
        for builtins in ("builtins", "__builtin__"):
            functions[builtins, "bytes"] = self._empty_bytes
        for core in ("numpy.core", "numpy._core"):
            functions[f"{core}.multiarray", "_reconstruct"] = self._reconstruct
            functions[f"{core}.multiarray", "scalar"] = self._scalar
            functions[f"{core}.numeric", "_frombuffer"] = self._frombuffer
        self._known: dict[tuple[str, str], Any] = {name: _Function(call) for name, call in functions.items()}
        self._known["numpy", "ndarray"] = NDARRAY

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of a name; called by Python's unpickler.

        Raises:
            _RefusedError: Any other name.
        """
        try:
            return self._known[module, name]
        except KeyError:
            raise _RefusedError(f"{module}.{name}") from None

    def array(self, raw: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any] | list[Any]:
        """An array over the bytes present; an array of objects stays a list.

        Raises:
            _RefusedError: Its claims are invalid, or do not match the bytes.
        """
        if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple):
            raise _RefusedError("an array without type or shape")
        if not all(type(n) is int and n >= 0 for n in shape) or order not in ("C", "F"):
            raise _RefusedError(f"an array of shape {str(shape)[:60]}")
        count = math.prod(shape)
        if "O" in dtype.name:
            if not isinstance(raw, list) or len(raw) != count or len(shape) != 1:
                raise _RefusedError("an array of objects that is not a plain list of them")
            return raw
        data = self._encode(raw) if isinstance(raw, str) else raw
        if not isinstance(data, bytes | bytearray) or len(data) != count * dtype.build().itemsize:
            size = len(data) if isinstance(data, bytes | bytearray) else "no"
            raise _RefusedError(f"an array of shape {shape}, {dtype.name}, from {size} bytes")
        return np.frombuffer(data, dtype.build()).reshape(shape, order=order)

    def _reconstruct(self, kind: Any = None, shape: Any = None, code: Any = None) -> _Array:
        if kind is not NDARRAY or shape != (0,):
            raise _RefusedError(f"an array allocated with shape {str(shape)[:60]} before its bytes")
        return _Array(self)

    def _frombuffer(self, raw: Any, dtype: Any, shape: Any, order: Any, *axes: Any) -> _Array:
        if any(axis is not None for axis in axes):
            raise _RefusedError("an array with its axes in another order")
        array = _Array(self)
        array.value = self.array(raw, dtype, shape, order)
        return array

    def _scalar(self, dtype: Any, raw: Any = b"") -> Any:
        value = self.array(raw, dtype, (1,), "C")
        return value[0] if isinstance(value, list) else value[0].item()

    def _encode(self, text: Any, encoding: str = "latin1", errors: str = "strict") -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1") or errors != "strict":
            raise _RefusedError("_codecs.encode of something other than bytes")
        self._bytes_left -= len(text)
        if self._bytes_left < 0:
            raise _RefusedError("a pickle that expands to many times its size")
        return text.encode("latin1")

    def _empty_bytes(self) -> bytes:
        """`bytes()`, as protocols below 3 write empty bytes."""
        return b""

    def _ordered_dict(self, *rows: Any) -> dict[Any, Any]:
        return dict(*rows)


def load(path: Path) -> Any:
    """The content of a pickle: containers, text, numbers and numpy arrays; tuples and sets become lists.

    Raises:
        UsageError: No such file.
        DataError: It is cut short or damaged, or names something other than arrays; the message gives the name, and
            nothing has run.
    """
    if not path.is_file():
        raise UsageError(f"--source {path}: no such file; name the pickle itself")
    if path.stat().st_size == 0:
        raise DataError(f"{path.name} is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        try:
            _check_opcodes(mapped)
            mapped.seek(0)
            return _without_stand_ins(_Reader(mapped).load(), {})
        except _RefusedError as refused:
            raise DataError(
                f"{path.name} is refused: it holds {printable(str(refused), 200)}. A pickle can run any program; only "
                "numpy arrays, containers, text and numbers are read, and nothing in this file has run"
            ) from None
        except (pickle.UnpicklingError, ValueError, TypeError, LookupError, AttributeError, EOFError, MemoryError,
                OverflowError, RecursionError) as error:  # fmt: skip
            raise DataError(
                f"{path.name} is not a pickle, cut short or damaged: {printable(str(error), 200)}"
            ) from None


def _check_opcodes(file: mmap.mmap) -> None:
    """Scan every opcode without running any.

    Raises:
        _RefusedError: An opcode that is not allowed, or a number that exceeds the file.
    """
    size = len(file)
    for steps, (opcode, argument, position) in enumerate(pickletools.genops(file)):  # type: ignore[arg-type]
        if opcode.name == "FRAME" and (position or 0) + int(argument or 0) > size:
            raise _RefusedError(f"a frame of {argument} bytes in a file of {size}")
        if opcode.name.endswith("PUT") and int(argument or 0) > steps:  # the memo is a table that grows to this number
            raise _RefusedError(f"memo number {argument} after {steps} steps")
        if opcode.name in ("INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4"):
            name = str(argument).replace(" ", ".") if opcode.name == "INST" else "an object other than an array"
            raise _RefusedError(f"{name} (opcode {opcode.name})")


def _without_stand_ins(value: Any, converted: dict[int, Any], depth: int = 0) -> Any:
    """The same containers, with arrays in place of their stand-ins.

    Args:
        value: What the unpickler built.
        converted: `id` of each container -> its conversion; one that occurs in many places is converted once.
        depth: Containers around the value.

    Raises:
        _RefusedError: A value of another type, or containers nested too deep.
    """
    if depth > DEEPEST:
        raise _RefusedError(f"containers nested more than {DEEPEST} deep")
    if isinstance(value, _Array):
        return _without_stand_ins(value.value, converted, depth + 1)
    if isinstance(value, dict | list | tuple | set | frozenset):
        if id(value) not in converted:
            if isinstance(value, dict):
                converted[id(value)] = {
                    _checked_key(k): _without_stand_ins(v, converted, depth + 1) for k, v in value.items()
                }
            else:
                converted[id(value)] = [_without_stand_ins(v, converted, depth + 1) for v in value]
        return converted[id(value)]
    if value is None or isinstance(value, str | bytes | bytearray | int | float | complex | np.ndarray):
        return value
    raise _RefusedError(f"{getattr(value, '__name__', type(value).__name__)} as a value")


def _checked_key(key: Any) -> Any:
    if not isinstance(key, str | bytes | int | float | bool | None):
        raise _RefusedError(f"a {type(key).__name__} as the key of a dict")
    return key
