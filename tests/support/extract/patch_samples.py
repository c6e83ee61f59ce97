"""Files of RANDOM weights for YAMNet and VGGish, in the layouts of the published ones, and a writer of TFLite models.

VGGish's 288 MB are views of small arrays (every row begins a little further on), so that files stay small.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from emofuse.common.disk import tensor_file
from emofuse.extract.encoders import trill, vggish, yamnet
from emofuse.extract.encoders.networks import trill_network

YAMNET_WIDTHS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
Arrays = dict[str, np.ndarray]


def speech(samples: int, seed: int = 0) -> np.ndarray:
    time = np.arange(samples) / 16000
    noise = np.random.default_rng(seed).normal(0, 0.02, samples)
    return (0.3 * np.sin(2 * np.pi * (120 + 30 * seed) * time) * np.sin(7 * time) + noise).astype(np.float32)


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


def random_keras_yamnet(seed: int = 0) -> Arrays:
    """By the published names, kernels [height, width, in, out]."""
    rng = np.random.default_rng(seed)
    arrays: Arrays = {}

    def add(name: str, kernel: str, shape: tuple[int, ...], fan_in: int) -> None:
        arrays[f"{name}/{kernel}"] = rng.normal(0, np.sqrt(2 / fan_in), shape)
        width = shape[2] if kernel == "depthwise_kernel" else shape[3]
        arrays[f"{name}/bn/beta"] = rng.normal(0, 0.1, width)
        arrays[f"{name}/bn/moving_mean"] = rng.normal(0, 0.1, width)
        arrays[f"{name}/bn/moving_variance"] = rng.uniform(0.5, 1.5, width)

    add("layer1/conv", "kernel", (3, 3, 1, 32), 9)
    for layer in range(2, 15):
        before, width = YAMNET_WIDTHS[layer - 2], YAMNET_WIDTHS[layer - 1]
        add(f"layer{layer}/depthwise_conv", "depthwise_kernel", (3, 3, before, 1), 9)
        add(f"layer{layer}/pointwise_conv", "kernel", (1, 1, before, width), before)
    arrays["dense/kernel"] = rng.normal(0, 0.03, (1024, 521))
    arrays["dense/bias"] = rng.normal(0, 0.1, 521)
    return {name: values.astype(np.float32) for name, values in arrays.items()}


def save_keras(path: Path, arrays: Arrays) -> Path:
    """As Keras 2's `save_weights` does: a group per layer, within it datasets named `LAYER/VARIABLE:0`."""
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[f"{name.rsplit('/', 1)[0]}/{name}:0"] = values
    return path


def _view(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, torch_like: bool) -> Any:
    import torch

    # Rows and columns advance by different steps, so that no matrix equals its transpose.
    steps = tuple(2 * n + 1 for n in range(len(shape)))
    size = 1 + sum(step * (length - 1) for step, length in zip(steps, shape, strict=True))
    base = torch.from_numpy(rng.normal(0, np.sqrt(2 / fan_in), size).astype(np.float32))
    view = base.as_strided(shape, steps)
    return view if torch_like else view.numpy()


def random_vggish(seed: int = 0) -> dict[str, Any]:
    """torchvggish's state dict: names, shapes [out, in, ...]."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, Any] = {}
    before = 1
    for at, width in zip((0, 3, 6, 8, 11, 13), (64, 128, 256, 256, 512, 512), strict=True):
        arrays[f"features.{at}.weight"] = _view(rng, (width, before, 3, 3), 9 * before, True)
        arrays[f"features.{at}.bias"] = _view(rng, (width,), 100, True)
        before = width
    before = 12288
    for at, width in zip((0, 2, 4), (4096, 4096, 128), strict=True):
        arrays[f"embeddings.{at}.weight"] = _view(rng, (width, before), before, True)
        arrays[f"embeddings.{at}.bias"] = _view(rng, (width,), 100, True)
        before = width
    return arrays


def save_pca(path: Path, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(0, 0.2, (128, 128)).astype(np.float32)
    np.savez(path, pca_eigen_vectors=vectors, pca_means=rng.normal(0, 0.1, 128).astype(np.float32))
    return path


def save_random_trill(path: Path, dimension: int = 512, seed: int = 0) -> Path:
    """As `emofuse pretrain trill` writes it, of the weights that it begins with."""
    about = {"format": trill.FORMAT, "pretrained_on": "nothing: random weights", "fitted_on": []}
    tensor_file.write(path, trill_network.random_weights(dimension, seed), about)
    return path


def save_random_weights(folder: Path, encoder: str, seed: int = 0) -> Path:
    import torch

    if encoder == "yamnet":
        return save_keras(folder / "random-yamnet.h5", random_keras_yamnet(seed))
    if encoder == "trill":
        return save_random_trill(folder / "random-trill.safetensors", seed=seed)
    save_pca(folder / "random_vggish_pca_params.npz", seed)
    torch.save(random_vggish(seed), folder / "random-vggish.pth")
    return folder / "random-vggish.pth"


MODULES = {"yamnet": yamnet, "vggish": vggish, "trill": trill}


class Vector:
    """A list of numbers in a FlatBuffer: `kind` is struct's letter."""

    def __init__(self, kind: str, values: Any) -> None:
        self.data = struct.pack("<I", len(values)) + struct.pack(f"<{len(values)}{kind}", *values)


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data = struct.pack("<I", len(data)) + data


Table = dict[int, Any]


def flatbuffer(root: Table, mark: bytes = b"TFL3") -> bytes:
    """A FlatBuffer of nested tables: fields by number, scalars as (letter, number)."""
    out = bytearray(4) + mark
    struct.pack_into("<I", out, 0, _put_table(out, root))
    return bytes(out)


def _put_table(out: bytearray, table: Table) -> int:
    count = max(table, default=-1) + 1
    entries = len(out)
    out += bytes(4 + 2 * count)
    at = len(out)
    out += struct.pack("<i", at - entries)
    later = []
    for number, value in table.items():
        struct.pack_into("<H", out, entries + 4 + 2 * number, len(out) - at)
        if isinstance(value, tuple):
            out += struct.pack(f"<{value[0]}", value[1])
        else:
            later.append((len(out), value))
            out += bytes(4)
    struct.pack_into("<HH", out, entries, 4 + 2 * count, len(out) - at)
    for place, value in later:
        struct.pack_into("<I", out, place, _put(out, value) - place)
    return at


def _put(out: bytearray, value: Any) -> int:
    if isinstance(value, dict):
        return _put_table(out, value)
    at = len(out)
    if isinstance(value, list):
        out += struct.pack("<I", len(value)) + bytes(4 * len(value))
        for n, item in enumerate(value):
            place = at + 4 + 4 * n
            struct.pack_into("<I", out, place, _put_table(out, item) - place)
    else:
        out += value.data
    return at


TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int16": 7, "int8": 9}
CONV, DEPTHWISE, DEQUANTIZE, DENSE, RESHAPE = 3, 4, 6, 9, 22


def tensor(shape: tuple[int, ...], buffer: int, kind: str = "float32", quantisation: Table | None = None) -> Table:
    table: Table = {0: Vector("i", shape), 1: ("b", TYPES[kind]), 2: ("I", buffer)}
    return table if quantisation is None else {**table, 4: quantisation}


def model(operators: list[tuple[int, list[int], list[int]]], tensors: list[Table], buffers: list[bytes]) -> Table:
    """Operators as (code, inputs, outputs)."""
    codes = sorted({code for code, *_ in operators})
    return {
        0: ("I", 3),
        1: [{0: ("b", code), 3: ("i", code)} for code in codes],
        2: [{
            0: tensors,
            3: [{0: ("I", codes.index(c)), 1: Vector("i", i), 2: Vector("i", o)} for c, i, o in operators],
        }],
        4: [{0: Bytes(data)} for data in buffers],
    }  # fmt: skip
