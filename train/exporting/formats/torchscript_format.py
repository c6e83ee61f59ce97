"""TorchScript, by tracing: PyTorch deprecates it, but it is what libtorch (C++) and phones load today."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emofuse.common.disk.files import write_atomically
from emofuse.train.exporting.exported_model import ExportedModel, arrays

METADATA = "emofuse.json"
"""The file in the archive that holds the description."""


def write(path: Path, model: ExportedModel, example: Sequence[Tensor], about: Mapping[str, Any]) -> None:
    """Write the program; the control flow of a model does not depend on data, so a trace holds all of it."""
    archive = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(model, tuple(example), check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, archive, _extra_files={METADATA: json.dumps(about)})
    write_atomically(path, archive.getvalue())


def open_file(path: Path) -> Callable[[Sequence[Tensor]], list[NDArray[np.float32]]]:
    """`torch.jit` on the CPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]

    def run(inputs: Sequence[Tensor]) -> list[NDArray[np.float32]]:
        with torch.no_grad():
            return arrays(program(*inputs))

    return run
