"""Reads objects of an untrusted HDF5 file: their type and size are checked before their content is read.

FORMAT.md allows plain datasets and attributes of fixed types that lie in the file itself. Anything else in their place
(soft and external links, virtual datasets, filters, objects, a shape that the file has no bytes for) is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import DataError

_MOST_ELEMENTS = 1 << 16
"""Elements of an attribute, at most."""


class ForeignLayoutError(DataError):
    """Nothing is damaged, but another program has rewritten the file; `emofuse store repack` restores the layout."""


def child(group: h5py.Group, name: str, kind: Any) -> Any:
    """A group or dataset that lies in this file, under a hard link.

    Raises:
        DataError: It is missing, of another kind, or a link to another place.
    """
    where = f"{group.name.rstrip('/')}/{name}"
    link = group.get(name, getlink=True)
    if link is None:
        raise DataError(f"{where} is missing")
    if not isinstance(link, h5py.HardLink):
        raise DataError(f"{where} is a link to another place; a store has hard links only")
    node = group[name]
    if not isinstance(node, kind):
        raise DataError(f"{where} is a {type(node).__name__.lower()}, expected a {kind.__name__.lower()}")
    return node


def dataset(group: h5py.Group, name: str, dtype: Any, dimensions: int = 1, *, filters: bool = False) -> h5py.Dataset:
    """A dataset of the given type whose bytes all lie in the file.

    Args:
        group: The group that has it.
        name: Its name in the group.
        dtype: The numpy type that it must have.
        dimensions: The number of axes that it must have.
        filters: Allow filters and unallocated chunks (only `store repack` reads such datasets).

    Raises:
        DataError: It is something else, or declares more bytes than the file has.
    """
    node = child(group, name, h5py.Dataset)
    try:
        stored_dtype, shape = node.dtype, node.shape
    except (TypeError, ValueError):
        stored_dtype, shape = None, None
    if stored_dtype != np.dtype(dtype) or shape is None or len(shape) != dimensions:
        raise DataError(f"{node.name} is {stored_dtype} {shape}, expected {np.dtype(dtype)} of {dimensions} dimensions")
    properties = node.id.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
        raise DataError(f"{node.name} has its values in another file; a store has all values in its own file")
    if filters:
        return node
    if properties.get_nfilters():
        raise ForeignLayoutError(f"{node.name} has filters (compression)")
    declared = math.prod(shape) * stored_dtype.itemsize
    # The storage size that the file declares may be wrong as well.
    available = min(node.id.get_storage_size(), h5py.h5i.get_file_id(node.id).get_filesize())
    if available < declared:
        raise DataError(f"{node.name} declares {declared} bytes, the file has {available} of them")
    return node


def array(group: h5py.Group, name: str, dtype: Any) -> NDArray[Any]:
    """The values of a one-dimensional dataset, [n]; it is not larger than the file.

    Raises:
        DataError: As `dataset`.
    """
    values: NDArray[Any] = dataset(group, name, dtype)[()]
    return values


def text(node: h5py.Group, name: str) -> str:
    """A text attribute.

    Raises:
        DataError: It is missing, or of another type.
    """
    value = attribute(node, name, ())
    value = value.decode() if isinstance(value, bytes) else value
    if not isinstance(value, str):
        raise DataError(f"attribute {name!r} of {node.name} is {type(value).__name__}, expected text")
    return value


def number(node: h5py.Group, name: str) -> float:
    """A number attribute.

    Raises:
        DataError: It is missing, or of another type.
    """
    value = attribute(node, name, ())
    if not isinstance(value, np.integer | np.floating | int | float):
        raise DataError(f"attribute {name!r} of {node.name} is {type(value).__name__}, expected a number")
    return float(value)


def integer(node: h5py.Group, name: str) -> int:
    """An integer attribute.

    Raises:
        DataError: It is missing, or of another type.
    """
    value = attribute(node, name, ())
    if not isinstance(value, np.integer | int):
        raise DataError(f"attribute {name!r} of {node.name} is {type(value).__name__}, expected an integer")
    return int(value)


def integers(node: h5py.Group, name: str) -> tuple[int, ...]:
    """An attribute that is a list of integers.

    Raises:
        DataError: It is missing, or of another type.
    """
    value = attribute(node, name)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iu":
        raise DataError(f"attribute {name!r} of {node.name} is not a list of integers")
    return tuple(int(v) for v in value)


def mapping(group: h5py.Group, name: str) -> Mapping[str, Any]:
    """The JSON object in a dataset.

    Raises:
        DataError: It is missing, or not a JSON object.
    """
    try:
        value = json.loads(array(group, name, np.uint8).tobytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{group.name}/{name} is not JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise DataError(f"{group.name}/{name} holds {type(value).__name__}, expected a JSON object")
    return value


def put_text(node: h5py.Group, name: str, value: str) -> None:
    """Write a text attribute of fixed length: it lies in the node's header, which HDF5 protects by a checksum."""
    raw = value.encode()
    node.attrs.create(name, np.array(raw, f"S{max(1, len(raw))}"), dtype=h5py.string_dtype("utf-8", max(1, len(raw))))


def attribute(node: h5py.Group, name: str, shape: tuple[int, ...] | None = None) -> Any:
    """The value of an attribute of reasonable size, of any type.

    Args:
        node: What has the attribute.
        name: Its name.
        shape: The shape that it must have; None means any list or single value.

    Raises:
        DataError: It is missing, or has another shape.
    """
    raw = name.encode()
    if not h5py.h5a.exists(node.id, raw):
        raise DataError(f"attribute {name!r} of {node.name} is missing")
    stored_shape = h5py.h5a.open(node.id, raw).shape
    size = math.prod(stored_shape) if stored_shape is not None else -1
    if (shape is not None and stored_shape != shape) or not 0 <= size <= _MOST_ELEMENTS or len(stored_shape) > 1:
        raise DataError(f"attribute {name!r} of {node.name} has shape {stored_shape}")
    return node.attrs[name]
