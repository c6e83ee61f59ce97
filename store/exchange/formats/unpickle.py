"""Reads pickles of plain containers and numpy arrays, and runs nothing of what they name.

A pickle is a program. This reader lets it build dicts, lists, tuples, sets, texts, bytes and numbers, and answers the
few numpy names that arrays are made with by stand-ins of its own, which hold every size against the bytes that are
there. Any other name is refused. Before that, the opcodes are walked through once without running them: a length, frame
or memo number that the file is too short for is found before anything is allocated.
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

from emofuse.common.console import printable
from emofuse.common.errors import DataError, UsageError

DTYPE = re.compile(r"[<>=|]?[biufSUO]\d*")
SWELLING = 4
"""Bytes that a pickle may unfold to, as a multiple of its size."""
DEEPEST = 32
"""Nested containers."""


class _Refused(Exception):  # noqa: N818 - never leaves this module
    """Something that a pickle must not do."""


class _Type:
    """Stands for the class numpy.ndarray where a pickle names it; cannot be called, and nothing can be set on it."""

    __slots__ = ()


NDARRAY = _Type()


class _Call:
    """Stands for a function that a pickle may call, and not change."""

    __slots__ = ("_do",)

    def __init__(self, do: Callable[..., Any]) -> None:
        self._do = do

    def __call__(self, *arguments: Any) -> Any:
        return self._do(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise _Refused("a function that is changed")


class _Dtype:
    """Stands for a numpy type while it is put together."""

    def __init__(self, name: Any = None, align: Any = False, copy: Any = False) -> None:
        if not isinstance(name, str) or not DTYPE.fullmatch(name):
            raise _Refused(f"the numpy type {str(name)[:40]!r}")
        self.name, self.order = name, "="

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "=", "|") or any(state[2:5]):
            raise _Refused("a numpy type with fields or a shape")
        self.order = state[1]

    def built(self) -> np.dtype[Any]:
        """The type itself."""
        return np.dtype(self.order + self.name.lstrip("<>=|"))


class _Array:
    """Stands for an array while it is put together; `value` has it."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader
        self.value: NDArray[Any] | list[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise _Refused("an array with an unknown state")
        _, shape, dtype, fortran, raw = state
        self.value = self._reader.array(raw, dtype, shape, "F" if fortran else "C")


class _Reader(pickle.Unpickler):
    """Python's unpickler, which finds our stand-ins and nothing else."""

    def __init__(self, file: mmap.mmap) -> None:
        super().__init__(file, encoding="latin1")  # as Python 2's arrays need it  # type: ignore[arg-type]
        self._left = SWELLING * len(file) + 4096
        found: dict[tuple[str, str], Callable[..., Any]] = {
            ("_codecs", "encode"): self._encode,
            ("numpy", "dtype"): _Dtype,
            ("collections", "OrderedDict"): self._ordered,
        }
        for builtins in ("builtins", "__builtin__"):
            found[builtins, "bytes"] = self._no_bytes
        for core in ("numpy.core", "numpy._core"):
            found[f"{core}.multiarray", "_reconstruct"] = self._reconstruct
            found[f"{core}.multiarray", "scalar"] = self._scalar
            found[f"{core}.numeric", "_frombuffer"] = self._frombuffer
        self._known: dict[tuple[str, str], Any] = {name: _Call(do) for name, do in found.items()}
        self._known["numpy", "ndarray"] = NDARRAY

    def find_class(self, module: str, name: str) -> Any:
        """A stand-in, or a refusal by name."""
        try:
            return self._known[module, name]
        except KeyError:
            raise _Refused(f"{module}.{name}") from None

    def array(self, raw: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any] | list[Any]:
        """An array over bytes that are there; one of objects stays a list."""
        if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple):
            raise _Refused("an array without type or shape")
        if not all(type(n) is int and n >= 0 for n in shape) or order not in ("C", "F"):
            raise _Refused(f"an array of shape {str(shape)[:60]}")
        count = math.prod(shape)
        if "O" in dtype.name:
            if not isinstance(raw, list) or len(raw) != count or len(shape) != 1:
                raise _Refused("an array of objects that is no plain row of them")
            return raw
        data = self._encode(raw) if isinstance(raw, str) else raw
        if not isinstance(data, bytes | bytearray) or len(data) != count * dtype.built().itemsize:
            held = len(data) if isinstance(data, bytes | bytearray) else "no"
            raise _Refused(f"an array of shape {shape}, {dtype.name}, from {held} bytes")
        return np.frombuffer(data, dtype.built()).reshape(shape, order=order)

    def _reconstruct(self, kind: Any = None, shape: Any = None, code: Any = None) -> _Array:
        if kind is not NDARRAY or shape != (0,):
            raise _Refused(f"an array made with shape {str(shape)[:60]} before its bytes")
        return _Array(self)

    def _frombuffer(self, raw: Any, dtype: Any, shape: Any, order: Any, *axes: Any) -> _Array:
        if any(axis is not None for axis in axes):
            raise _Refused("an array with its axes in another order")
        made = _Array(self)
        made.value = self.array(raw, dtype, shape, order)
        return made

    def _scalar(self, dtype: Any, raw: Any = b"") -> Any:
        value = self.array(raw, dtype, (1,), "C")
        return value[0] if isinstance(value, list) else value[0].item()

    def _encode(self, text: Any, encoding: str = "latin1", errors: str = "strict") -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1") or errors != "strict":
            raise _Refused("_codecs.encode of something else than bytes")
        self._left -= len(text)
        if self._left < 0:
            raise _Refused("a pickle that unfolds to many times its size")
        return text.encode("latin1")

    def _no_bytes(self) -> bytes:
        """What protocols below 3 write for empty bytes."""
        return b""

    def _ordered(self, *rows: Any) -> dict[Any, Any]:
        return dict(*rows)


def load(path: Path) -> Any:
    """What a pickle holds: containers, texts, numbers and numpy arrays.

    Raises:
        UsageError: No such file.
        DataError: It is cut short or damaged, or names something else than arrays; the name is said, nothing has run.
    """
    if not path.is_file():
        raise UsageError(f"--source {path}: no such file; name the pickle itself")
    if path.stat().st_size == 0:
        raise DataError(f"{path.name} is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        try:
            _walk(mapped)
            mapped.seek(0)
            return _plain(_Reader(mapped).load(), {})
        except _Refused as refused:
            raise DataError(
                f"{path.name} is refused: it holds {printable(str(refused), 200)}. A pickle can run any program; only "
                "numpy arrays, containers, texts and numbers are read, and nothing of this file has run"
            ) from None
        except (pickle.UnpicklingError, ValueError, TypeError, LookupError, AttributeError, EOFError, MemoryError,
                OverflowError, RecursionError) as error:  # fmt: skip
            raise DataError(f"{path.name} is no pickle, cut short or damaged: {printable(str(error), 200)}") from None


def _walk(file: mmap.mmap) -> None:
    """Look at every opcode without running any."""
    size = len(file)
    for steps, (opcode, argument, position) in enumerate(pickletools.genops(file)):  # type: ignore[arg-type]
        if opcode.name == "FRAME" and (position or 0) + int(argument or 0) > size:
            raise _Refused(f"a frame of {argument} bytes in a file of {size}")
        if opcode.name.endswith("PUT") and int(argument or 0) > steps:  # the memo is a table that grows to this number
            raise _Refused(f"memo number {argument} after {steps} steps")
        if opcode.name in ("INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4"):
            named = str(argument).replace(" ", ".") if opcode.name == "INST" else "an object other than an array"
            raise _Refused(f"{named} (opcode {opcode.name})")


def _plain(value: Any, seen: dict[int, Any], depth: int = 0) -> Any:
    """The same containers with arrays in place of their stand-ins.

    Args:
        seen: What each container has become; one that stands in many places is looked at once.
    """
    if depth > DEEPEST:
        raise _Refused(f"containers nested more than {DEEPEST} deep")
    if isinstance(value, _Array):
        return _plain(value.value, seen, depth + 1)
    if isinstance(value, dict | list | tuple | set | frozenset):
        if id(value) not in seen:
            if isinstance(value, dict):
                seen[id(value)] = {_key(k): _plain(v, seen, depth + 1) for k, v in value.items()}
            else:
                seen[id(value)] = [_plain(v, seen, depth + 1) for v in value]
        return seen[id(value)]
    if value is None or isinstance(value, str | bytes | bytearray | int | float | complex | np.ndarray):
        return value
    raise _Refused(f"{getattr(value, '__name__', type(value).__name__)} as a value")


def _key(key: Any) -> Any:
    if not isinstance(key, str | bytes | int | float | bool | None):
        raise _Refused(f"a {type(key).__name__} as the key of a dict")
    return key
