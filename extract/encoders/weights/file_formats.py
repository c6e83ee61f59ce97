"""The kinds of files that hold named tensors, and how each is read: told by the content, not by the suffix.

Read are safetensors, PyTorch files (with `weights_only`: no code of a checkpoint is ever run), NumPy's .npz, HDF5 as
Keras 2 saves weights, and TensorFlow Lite.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import UsageError
from emofuse.extract.encoders.weights import tflite


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor of a file, not yet read."""

    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]


def kind_of(path: Path) -> str | None:
    """Which kind of file it is, by its first bytes; none: a kind that is not read, or an empty file."""
    with path.open("rb") as file:
        head = file.read(9)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    if head[4:8] == tflite.MARK:
        return "tflite"
    if head.startswith(b"PK\x03\x04"):
        return "npz" if _has_npy(path) else "torch"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "safetensors"
    return "torch" if head[:1] == b"\x80" else None


def _has_npy(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith(".npy") for name in file.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import safe_open

    file: Any = safe_open(path, framework="numpy")
    names = list(file.keys())
    shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
    return {name: Tensor(shape=shapes[name], read=partial(file.get_tensor, name)) for name in names}


def _torch(path: Path) -> dict[str, Tensor]:
    import torch

    # torchvggish wraps its PCA parameters by as_tensor: they may be numpy arrays, which hold no code either.
    rebuild: Any = np.array(0).__reduce__()[0]
    arrays = [np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8")), rebuild]
    old = [(rebuild, "numpy.core.multiarray._reconstruct"), (rebuild, "numpy._core.multiarray._reconstruct")]
    with torch.serialization.safe_globals([*arrays, *old]):
        held = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(held, dict) and isinstance(held.get("state_dict"), dict):
        held = held["state_dict"]
    if not isinstance(held, dict):
        raise UsageError(f"{path} holds a {type(held).__name__}, expected a state dict: names with their tensors")
    found = {str(k): v for k, v in held.items() if isinstance(v, torch.Tensor | np.ndarray)}
    return {name: Tensor(shape=tuple(v.shape), read=partial(_plain, v)) for name, v in found.items()}


def _plain(values: Any) -> NDArray[Any]:
    return values if isinstance(values, np.ndarray) else np.asarray(values.detach().float().numpy())


def _npz(path: Path) -> dict[str, Tensor]:
    found = {}
    with zipfile.ZipFile(path) as file:
        for member in (name for name in file.namelist() if name.endswith(".npy")):
            with file.open(member) as stream:
                # Format 2.0 has only a longer header; the values are read with the version that the member states.
                header = np.lib.format.read_array_header_1_0
                if np.lib.format.read_magic(stream)[0] > 1:
                    header = np.lib.format.read_array_header_2_0
                shape = header(stream)[0]
            found[member.removesuffix(".npy")] = Tensor(shape=shape, read=partial(_member, path, member))
    return found


def _member(path: Path, name: str) -> NDArray[Any]:
    with zipfile.ZipFile(path) as file, file.open(name) as stream:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def _hdf5(path: Path) -> dict[str, Tensor]:
    import h5py

    file = h5py.File(path, "r")
    found: dict[str, Tensor] = {}

    def visit(name: str, item: Any) -> None:
        # What points into other files is no weight of this one.
        if isinstance(item, h5py.Dataset) and not item.is_virtual and not item.external:
            found[name] = Tensor(shape=tuple(item.shape or ()), read=lambda: item[()])

    file.visititems(visit)
    return found


def _lite(path: Path) -> dict[str, Tensor]:
    held = tflite.read(path.read_bytes())
    return {name: Tensor(shape=constant.shape, read=constant.values) for name, constant in held.items()}


READERS: dict[str, Callable[[Path], dict[str, Tensor]]] = {
    "safetensors": _safetensors, "torch": _torch, "npz": _npz, "hdf5": _hdf5, "tflite": _lite,
}  # fmt: skip
"""How each kind of file is opened; any exception of a library means that the file is damaged."""
