"""Named tensors with JSON metadata in one safetensors file: model checkpoints and training checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emofuse.common.disk.files import write_atomically
from emofuse.common.errors import DataError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    State = dict[str, Tensor]

_KEY = "emofuse"
"""The metadata entry that holds ours, as JSON."""


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and their JSON-ready metadata atomically."""
    from safetensors.torch import save

    on_cpu = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    # One key: safetensors writes several in random order, and equal runs must give equal files.
    # `save` and not `save_file`: that one creates files that only their owner can read, and a lab shares its runs.
    write_atomically(path, save(on_cpu, {_KEY: json.dumps(metadata)}))


def read(path: Path) -> tuple[State, dict[str, Any]]:
    """The tensors of a file and their metadata.

    Raises:
        DataError: The file cannot be read, or its metadata is not a JSON object.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    return tensors, read_metadata(path)


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a file; empty where another program wrote it.

    Raises:
        DataError: As `read`.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get(_KEY, "{}"))
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    if not isinstance(metadata, dict):
        raise DataError(f"{path} cannot be read: its metadata is not a JSON object")
    return metadata


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors of a file, from its header alone; needs no torch.

    Raises:
        DataError: The file cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def add_prefix(prefix: str, state: Mapping[str, Tensor]) -> State:
    """The tensors of `state`, each renamed to `PREFIX/NAME`."""
    return {f"{prefix}/{name}": tensor for name, tensor in state.items()}


def strip_prefix(tensors: Mapping[str, Tensor], prefix: str) -> State:
    """The tensors named `PREFIX/NAME`, each renamed to `NAME`; the others are left out."""
    return {n.removeprefix(f"{prefix}/"): t for n, t in tensors.items() if n.startswith(f"{prefix}/")}


def optimiser_state(optimiser: torch.optim.Optimizer) -> State:
    """The state tensors of an optimiser, as `INDEX/NAME` of each parameter."""
    tensors: State = {}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= add_prefix(str(index), state)
    return tensors


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load what `optimiser_state` returned; parameter groups and learning rates stay unchanged."""
    states: dict[int, State] = {}
    for name, tensor in tensors.items():
        index, key = name.split("/")
        states.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({"state": states, "param_groups": optimiser.state_dict()["param_groups"]})
