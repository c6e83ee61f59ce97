"""Readers for the file formats of weights, recognised by content, not by suffix.

The formats are safetensors, PyTorch files (with `weights_only`, so that no code of a checkpoint runs), fairseq's
checkpoints among them, NumPy's .npz, HDF5 as Keras 2 saves weights, and TensorFlow Lite.
"""

from __future__ import annotations

import argparse
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
    """One tensor of a file; `read` reads its values."""

    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]


def kind_of(path: Path) -> str | None:
    """The format of a file, a key of `READERS`, by its first bytes; None for an unknown format or an empty file."""
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

    content = _load_torch(path)
    nested = (content.get(key) for key in ("state_dict", "model")) if isinstance(content, dict) else ()
    content = next((entry for entry in nested if isinstance(entry, dict)), content)
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds a {type(content).__name__}, expected a state dict: names with their tensors")
    tensors = {str(k): v for k, v in content.items() if isinstance(v, torch.Tensor | np.ndarray)}
    return {name: Tensor(shape=tuple(v.shape), read=partial(_to_numpy, v)) for name, v in tensors.items()}


def torch_settings(path: Path) -> dict[str, Any]:
    """What a PyTorch file holds under `cfg` beside its tensors; empty where there is no such entry."""
    content = _load_torch(path)
    settings = content.get("cfg") if isinstance(content, dict) else None
    return settings if isinstance(settings, dict) else {}


def _load_torch(path: Path) -> Any:
    import torch

    # torchvggish passes its PCA parameters through as_tensor: they may be numpy arrays, which hold no code either.
    rebuild: Any = np.array(0).__reduce__()[0]
    arrays = [np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8")), rebuild]
    old = [(rebuild, "numpy.core.multiarray._reconstruct"), (rebuild, "numpy._core.multiarray._reconstruct")]
    # fairseq writes its options as a namespace and its metrics as scalars of numpy.
    scalar: Any = np.float64(0).__reduce__()[0]
    fairseq: list[Any] = [
        argparse.Namespace,
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
    ]
    with torch.serialization.safe_globals([*arrays, *old, *fairseq]):
        return torch.load(path, map_location="cpu", weights_only=True)


def _to_numpy(values: Any) -> NDArray[Any]:
    return values if isinstance(values, np.ndarray) else np.asarray(values.detach().float().numpy())


def _npz(path: Path) -> dict[str, Tensor]:
    tensors = {}
    with zipfile.ZipFile(path) as file:
        for member in (name for name in file.namelist() if name.endswith(".npy")):
            with file.open(member) as stream:
                # Format 2.0 differs only in the size of its header; read_array follows the member's own version.
                header = np.lib.format.read_array_header_1_0
                if np.lib.format.read_magic(stream)[0] > 1:
                    header = np.lib.format.read_array_header_2_0
                shape = header(stream)[0]
            tensors[member.removesuffix(".npy")] = Tensor(shape=shape, read=partial(_read_member, path, member))
    return tensors


def _read_member(path: Path, name: str) -> NDArray[Any]:
    with zipfile.ZipFile(path) as file, file.open(name) as stream:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def _hdf5(path: Path) -> dict[str, Tensor]:
    import h5py

    file = h5py.File(path, "r")
    tensors: dict[str, Tensor] = {}

    def visit(name: str, item: Any) -> None:
        # Virtual and external datasets take their values from other files.
        if isinstance(item, h5py.Dataset) and not item.is_virtual and not item.external:
            tensors[name] = Tensor(shape=tuple(item.shape or ()), read=lambda: item[()])

    file.visititems(visit)
    return tensors


def _tflite(path: Path) -> dict[str, Tensor]:
    constants = tflite.read(path.read_bytes())
    return {name: Tensor(shape=constant.shape, read=constant.values) for name, constant in constants.items()}


READERS: dict[str, Callable[[Path], dict[str, Tensor]]] = {
    "safetensors": _safetensors, "torch": _torch, "npz": _npz, "hdf5": _hdf5, "tflite": _tflite,
}  # fmt: skip
"""Format -> the function that opens such a file; any exception of a library means that the file is damaged."""
