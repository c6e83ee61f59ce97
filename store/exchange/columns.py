"""Frames as lists in an Arrow column, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.store.exchange.records import NUMERIC_KINDS, Unusable, optional_library


def list_column(arrays: Sequence[NDArray[Any]]) -> Any:
    """An Arrow column with one row per array, [T, D] or [T, L, D]: a list of T fixed-size lists."""
    pa = optional_library("pyarrow")
    values = pa.array(np.concatenate([a.reshape(-1) for a in arrays]))
    for width in reversed(arrays[0].shape[1:]):
        values = pa.FixedSizeListArray.from_arrays(values, width)
    ends = np.cumsum([0, *(len(a) for a in arrays)])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values)


def vector_columns(schema: Any) -> list[str]:
    """Names of the columns that hold lists of numbers, at any depth."""
    types = optional_library("pyarrow.types")

    def holds_numbers(kind: Any) -> bool:
        kind = _storage_type(kind)
        if _is_list(kind):
            inner = _storage_type(kind.value_type)
            return holds_numbers(inner) or types.is_floating(inner) or types.is_integer(inner)
        return False

    return [field.name for field in schema if holds_numbers(field.type)]


def is_plain(kind: Any) -> bool:
    """Whether a column of this Arrow type holds text or numbers, as the columns of a manifest do."""
    types = optional_library("pyarrow.types")
    tests = (types.is_string, types.is_large_string, types.is_integer, types.is_floating, types.is_null)
    return any(test(kind) for test in tests)


def class_names(schema: Any) -> dict[str, list[str]]:
    """Of each ClassLabel column of Hugging Face's datasets, the names of its classes in order."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        labels = {column: f["names"] for column, f in features.items() if isinstance(f, dict) and "names" in f}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
    return {column: [str(n) for n in names] for column, names in labels.items() if isinstance(names, list)}


def array_of(cell: Any) -> NDArray[Any] | Unusable:
    """The array of one cell; on every axis but the first, all lists must have the same length.

    Args:
        cell: A list scalar of Arrow, nested or not.
    """
    values = getattr(cell, "value", cell)  # an extension scalar has its storage in `value`
    values = getattr(values, "values", values)
    if not isinstance(values, optional_library("pyarrow").Array):
        return Unusable(reason="its cell is empty")
    shape = [len(values)]
    while _is_list(values.type):
        if values.null_count:
            return Unusable(reason="it has empty frames (null)")
        width = _list_width(values)
        if isinstance(width, Unusable):
            return width
        shape.append(width)
        values = values.flatten()
    if values.null_count:
        return Unusable(reason=f"it has {values.null_count} empty values (null)")
    flat = values.to_numpy(zero_copy_only=False)
    if flat.dtype.kind not in NUMERIC_KINDS:
        return Unusable(reason=f"holds {values.type}, not plain numbers")
    array: NDArray[Any] = flat.reshape(shape)
    return array


def _list_width(lists: Any) -> int | Unusable:
    """The length that all lists of an Arrow array share; 0 where there is no list."""
    if not len(lists):
        return 0
    if optional_library("pyarrow.types").is_fixed_size_list(lists.type):
        return int(lists.type.list_size)
    widths = np.unique(np.diff(lists.offsets.to_numpy()))
    if len(widths) != 1:
        return Unusable(
            reason=f"its frames have {len(widths)} different widths, {widths[0]} and {widths[1]} among them"
        )
    return int(widths[0])


def _is_list(kind: Any) -> bool:
    types = optional_library("pyarrow.types")
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _storage_type(kind: Any) -> Any:
    return getattr(kind, "storage_type", kind)
