"""safetensors: the tensors of the exported model, and a description that builds it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emofuse.common.disk import tensor_file
from emofuse.common.errors import DataError
from emofuse.train.exporting.exported_model import ExportedMember, ExportedModel, arrays
from emofuse.train.fitting import model_file


def write(path: Path, model: ExportedModel, example: Sequence[Tensor], about: Mapping[str, Any]) -> None:
    """Write the tensors of member N as `N/NAME`; the header describes the model, with the recipe that builds it."""
    tensors: tensor_file.State = {}
    for number, member in enumerate(model.members):
        assert isinstance(member, ExportedMember)
        state = model_file.with_statistics(member.model.state_dict(), member.statistics())
        tensors |= tensor_file.add_prefix(str(number), state)
    tensor_file.write(path, tensors, about)


def load(path: Path | str) -> ExportedModel:
    """The exported model as a torch module.

    Raises:
        DataError: The file is damaged, or is not an exported model.
    """
    tensors, about = tensor_file.read(Path(path))
    numbers = sorted({name.partition("/")[0] for name in tensors}, key=lambda number: (len(number), number))
    if "recipe" not in about or not numbers:
        raise DataError(f"{path} is not an exported model: its header has no recipe; pass the file of `emofuse export`")
    members = []
    for number, about_member in zip(numbers, about["models"], strict=True):
        built = model_file.rebuild(Path(path), tensor_file.strip_prefix(tensors, number), about["recipe"])
        members.append(ExportedMember(*built, temperature=about_member["temperature"]))
    return ExportedModel(members).eval()


def open_file(path: Path) -> Callable[[Sequence[Tensor]], list[NDArray[np.float32]]]:
    """The exported model in PyTorch, on the CPU."""
    model = load(path)

    def run(inputs: Sequence[Tensor]) -> list[NDArray[np.float32]]:
        with torch.no_grad():
            return arrays(model(*inputs))

    return run
