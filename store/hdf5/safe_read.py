"""Takes things out of an HDF5 file that came from anybody: their kind and size are checked before they are read.

FORMAT.md allows plain datasets and attributes of fixed types, linked in the file itself. Whatever else stands in their
place (soft and external links, virtual datasets, filters, objects, a shape that the file has no bytes for) is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import DataError


class ForeignLayoutError(DataError):
    """Nothing is damaged, but another program has laid the file out anew: `emofuse store repack` cures it."""


LONGEST = 1 << 16
"""Elements of an attribute, at most."""


def child(group: h5py.Group, name: str, kind: Any) -> Any:
    """A group or dataset that lies in this file under a link of the plain kind.

    Raises:
        DataError: Absent, another kind of node, or a link to elsewhere.
    """
    where = f"{group.name.rstrip('/')}/{name}"
    link = group.get(name, getlink=True)
    if link is None:
        raise DataError(f"{where} is absent")
    if not isinstance(link, h5py.HardLink):
        raise DataError(f"{where} is a link to elsewhere; a store holds none")
    node = group[name]
    if not isinstance(node, kind):
        raise DataError(f"{where} is a {type(node).__name__.lower()}, which does not belong there")
    return node


def dataset(group: h5py.Group, name: str, dtype: Any, dimensions: int = 1, *, filters: bool = False) -> h5py.Dataset:
    """A dataset of the given type whose bytes all lie in the file.

    Args:
        group: Where it hangs.
        name: Its name there.
        dtype: The numpy type that it must have.
        dimensions: How many axes it must have.
        filters: Allow filters and unallocated chunks (`store repack` alone reads such).

    Raises:
        DataError: It is something else, or claims more than the file holds.
    """
    node = child(group, name, h5py.Dataset)
    try:
        found, shape = node.dtype, node.shape
    except (TypeError, ValueError):
        found, shape = None, None
    if found != np.dtype(dtype) or shape is None or len(shape) != dimensions:
        raise DataError(f"{node.name} is {found} {shape}, expected {np.dtype(dtype)} of {dimensions} dimensions")
    plist = node.id.get_create_plist()
    if plist.get_layout() == h5py.h5d.VIRTUAL or plist.get_external_count():
        raise DataError(f"{node.name} keeps its values in another file; a store holds all of its own")
    if filters:
        return node
    if plist.get_nfilters():
        raise ForeignLayoutError(f"{node.name} has filters (compression)")
    claimed = int(np.prod(shape, dtype=object)) * found.itemsize
    # What is said to be stored may be a lie as well.
    held = min(node.id.get_storage_size(), h5py.h5i.get_file_id(node.id).get_filesize())
    if held < claimed:
        raise DataError(f"{node.name} claims {claimed} bytes, the file holds {held} of them")
    return node


def array(group: h5py.Group, name: str, dtype: Any) -> NDArray[Any]:
    """A whole one-dimensional dataset in memory; it is no larger than the file.

    Raises:
        DataError: As `dataset`.
    """
    found: NDArray[Any] = dataset(group, name, dtype)[()]
    return found


def text(node: h5py.Group, name: str) -> str:
    """A text attribute.

    Raises:
        DataError: Absent or of another kind.
    """
    value = attribute(node, name, ())
    value = value.decode() if isinstance(value, bytes) else value
    if not isinstance(value, str):
        raise DataError(f"attribute {name!r} of {node.name} is {type(value).__name__}, expected text")
    return value


def number(node: h5py.Group, name: str) -> float:
    """A number attribute.

    Raises:
        DataError: Absent or of another kind.
    """
    value = attribute(node, name, ())
    if not isinstance(value, np.integer | np.floating | int | float):
        raise DataError(f"attribute {name!r} of {node.name} is {type(value).__name__}, expected a number")
    return float(value)


def integer(node: h5py.Group, name: str) -> int:
    """An integer attribute.

    Raises:
        DataError: Absent or of another kind.
    """
    value = attribute(node, name, ())
    if not isinstance(value, np.integer | int):
        raise DataError(f"attribute {name!r} of {node.name} is {type(value).__name__}, expected an integer")
    return int(value)


def integers(node: h5py.Group, name: str) -> tuple[int, ...]:
    """An attribute that lists integers.

    Raises:
        DataError: Absent or of another kind.
    """
    value = attribute(node, name)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iu":
        raise DataError(f"attribute {name!r} of {node.name} is no list of integers")
    return tuple(int(v) for v in value)


def mapping(group: h5py.Group, name: str) -> Mapping[str, Any]:
    """A dataset that holds a JSON object.

    Raises:
        DataError: Anything else.
    """
    try:
        found = json.loads(array(group, name, np.uint8).tobytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{group.name}/{name} is no JSON: {str(error)[:200]}") from None
    if not isinstance(found, dict):
        raise DataError(f"{group.name}/{name} holds {type(found).__name__}, expected a JSON object")
    return found


def put_text(node: h5py.Group, name: str, value: str) -> None:
    """Write a text attribute of fixed length: it lies in the node's header, whose checksum HDF5 keeps."""
    raw = value.encode()
    node.attrs.create(name, np.array(raw, f"S{max(1, len(raw))}"), dtype=h5py.string_dtype("utf-8", max(1, len(raw))))


def attribute(node: h5py.Group, name: str, shape: tuple[int, ...] | None = None) -> Any:
    """An attribute of reasonable size, of whatever kind; `shape` is the one that it must have, none: any.

    Raises:
        DataError: Absent, or another shape.
    """
    if name not in node.attrs:
        raise DataError(f"attribute {name!r} of {node.name} is absent")
    found = h5py.h5a.open(node.id, name.encode())
    size = int(np.prod(found.shape, dtype=object)) if found.shape is not None else -1
    if (shape is not None and found.shape != shape) or not 0 <= size <= LONGEST or len(found.shape) > 1:
        raise DataError(f"attribute {name!r} of {node.name} has shape {found.shape}")
    return node.attrs[name]
