"""The file formats of exported models: an explicit list, one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from emofuse.common.errors import UsageError
from emofuse.common.registry import Registry
from emofuse.train.exporting.exported_model import ExportedModel
from emofuse.train.exporting.formats import onnx_format, safetensors_format, torchscript_format

Runner = Callable[[Sequence[Tensor]], list[NDArray[np.float32]]]
"""Runs an exported file: the inputs of `ExportedModel.forward` -> its outputs, [B, C] each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFormat:
    """How a model is written to one file, and how that file is run."""

    file: str
    """The name of the file."""
    write: Callable[[Path, ExportedModel, Sequence[Tensor], Mapping[str, Any]], None]
    """(path, model, example inputs, what describes the model) -> nothing; the file appears complete or not at all."""
    open: Callable[[Path], Runner]
    """Path -> what runs the file, without the model that it was written from."""
    packages: tuple[str, ...] = ()
    """Optional packages that writing and running it needs."""
    extra: str = ""
    """The extra of emofuse that installs them."""


FORMATS: Registry[ExportFormat] = Registry("export format")

FORMATS.add(
    "onnx",
    "one ONNX graph, for ONNX Runtime and other engines",
    ExportFormat(
        file="model.onnx",
        write=onnx_format.write,
        open=onnx_format.open_file,
        packages=("onnx", "onnxscript", "onnxruntime"),
        extra="onnx",
    ),
)
FORMATS.add(
    "torchscript",
    "one TorchScript program, for torch.jit and libtorch (C++)",
    ExportFormat(file="model.pt", write=torchscript_format.write, open=torchscript_format.open_file),
)
FORMATS.add(
    "safetensors",
    "weights and a description, for emofuse's own model classes",
    ExportFormat(file="model.safetensors", write=safetensors_format.write, open=safetensors_format.open_file),
)


def installed_format(name: str) -> ExportFormat:
    """The format of a name, if what it needs is installed.

    Raises:
        UnknownNameError: No such format.
        UsageError: A package is missing or broken; says how to install it.
    """
    found = FORMATS[name]
    missing = [package for package in found.packages if find_spec(package) is None]
    if missing:
        raise UsageError(f"--format {name} needs {', '.join(missing)}: pip install 'emofuse[{found.extra}]'")
    for package in found.packages:
        try:
            import_module(package)
        except ImportError as error:  # installed, but not for this system
            raise UsageError(
                f"--format {name} needs {package}, which is installed but cannot be imported ({error}): "
                f"pip install --force-reinstall {package}"
            ) from None
    return found
