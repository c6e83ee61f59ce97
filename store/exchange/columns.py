"""Frames as lists of an Arrow column, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.store.exchange.registry import Bad, library


def lists_of(arrays: Sequence[NDArray[Any]]) -> Any:
    """A column with one row per array, [T, D] or [T, L, D]: a list of T lists of fixed size."""
    pa = library("pyarrow")
    values = pa.array(np.concatenate([a.reshape(-1) for a in arrays]))
    for width in reversed(arrays[0].shape[1:]):
        values = pa.FixedSizeListArray.from_arrays(values, width)
    ends = np.cumsum([0, *(len(a) for a in arrays)])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values)


def vector_columns(schema: Any) -> list[str]:
    """Names of the columns that hold lists of numbers, however deep."""
    types = library("pyarrow.types")

    def numbers(kind: Any) -> bool:
        kind = _storage_type(kind)
        if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
            inner = _storage_type(kind.value_type)
            return numbers(inner) or types.is_floating(inner) or types.is_integer(inner)
        return False

    return [field.name for field in schema if numbers(field.type)]


def plain(kind: Any) -> bool:
    """Whether a column holds texts or numbers, which a manifest can take."""
    types = library("pyarrow.types")
    tests = (types.is_string, types.is_large_string, types.is_integer, types.is_floating, types.is_null)
    return any(test(kind) for test in tests)


def class_names(schema: Any) -> dict[str, list[str]]:
    """Of the columns that Hugging Face's datasets know as ClassLabel, the classes' names in order."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        labels = {column: f["names"] for column, f in features.items() if isinstance(f, dict) and "names" in f}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
    return {column: [str(n) for n in names] for column, names in labels.items() if isinstance(names, list)}


def array_of(cell: Any) -> NDArray[Any] | Bad:
    """The array of one cell: the lists in it must all be as long as each other, but for the first axis.

    Args:
        cell: A list scalar of Arrow, nested or not.
    """
    values = getattr(cell, "value", cell)  # an extension scalar has its storage in `value`
    values = getattr(values, "values", values)
    if not isinstance(values, library("pyarrow").Array):
        return Bad(why="its cell is empty")
    shape = [len(values)]
    types = library("pyarrow.types")
    while types.is_list(values.type) or types.is_large_list(values.type) or types.is_fixed_size_list(values.type):
        if values.null_count:
            return Bad(why="it has empty frames (null)")
        inner = values.flatten()
        if not len(values):
            shape.append(0)
        elif types.is_fixed_size_list(values.type):
            shape.append(values.type.list_size)
        else:
            widths = np.unique(np.diff(values.offsets.to_numpy()))
            if len(widths) != 1:
                return Bad(
                    why=f"its frames have {len(widths)} different widths, {widths[0]} and {widths[1]} among them"
                )
            shape.append(int(widths[0]))
        values = inner
    if values.null_count:
        return Bad(why=f"it has {values.null_count} empty values (null)")
    flat = values.to_numpy(zero_copy_only=False)
    if flat.dtype.kind not in "fiu":
        return Bad(why=f"holds {values.type}, not plain numbers")
    array: NDArray[Any] = flat.reshape(shape)
    return array


def _storage_type(kind: Any) -> Any:
    return getattr(kind, "storage_type", kind)
