"""Named tensors with a few words about them, in one safetensors file: checkpoints, and where a training stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emofuse.common.disk.files import put
from emofuse.common.errors import DataError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    State = dict[str, Tensor]

_KEY = "emofuse"


def write(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and what is said about them, JSON-ready; the file appears whole or not at all."""
    from safetensors.torch import save

    held = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    # One key: safetensors writes several in an order of chance, and equal runs shall give equal files.
    # Bytes, not save_file: that one makes files that only their owner can read, and a lab shares its runs.
    put(path, save(held, {_KEY: json.dumps(about)}))


def read(path: Path) -> tuple[State, dict[str, Any]]:
    """The tensors of a file, and what is said about them.

    Raises:
        DataError: The file cannot be read, or its words are no JSON object.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    return tensors, about(path)


def about(path: Path) -> dict[str, Any]:
    """What is said about the tensors of a file; nothing where another program wrote it.

    Raises:
        DataError: As `read`.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            found = json.loads((file.metadata() or {}).get(_KEY, "{}"))
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise DataError(f"{path} cannot be read: what it says about itself is no JSON object")
    return found


def over(prefix: str, state: Mapping[str, Tensor]) -> State:
    """The tensors of `state` under `prefix/`."""
    return {f"{prefix}/{name}": tensor for name, tensor in state.items()}


def under(tensors: Mapping[str, Tensor], prefix: str) -> State:
    """What lies under `prefix/`, without it."""
    return {n.removeprefix(f"{prefix}/"): t for n, t in tensors.items() if n.startswith(f"{prefix}/")}


def optimiser_state(optimiser: torch.optim.Optimizer) -> State:
    """The tensors that an optimiser keeps, as `INDEX/NAME`."""
    found: State = {}
    for index, state in optimiser.state_dict()["state"].items():
        found |= over(str(index), state)
    return found


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimiser_state` gave; rates stay as they are."""
    states: dict[int, State] = {}
    for name, tensor in tensors.items():
        index, key = name.split("/")
        states.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({"state": states, "param_groups": optimiser.state_dict()["param_groups"]})
