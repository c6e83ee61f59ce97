"""Transformer layers through `torch.compile`: one graph for every length, since lengths change with each batch."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any

_LISTS = ("layers", "layer", "block")
"""What models call their transformer layers."""


def compile_layers(model: Any, device: str) -> bool:
    """Compile each transformer layer of `model`; where that cannot be done here, say so and leave it as it is.

    On a CPU the first batches take half a minute longer; what it gives is in benchmarks/NOTES.md.

    Returns:
        Whether the layers are compiled.
    """
    import torch

    if device == "cpu" and not _compiler():
        print("no C++ compiler is here: the encoder runs eager, as without --compile", file=sys.stderr, flush=True)
        return False
    layers = _layers(model)
    for layer in layers:
        layer.forward = torch.compile(layer.forward, dynamic=True)
    return bool(layers)


def _layers(model: Any) -> list[Any]:
    """The longest list of modules of one kind."""
    from torch import nn

    lists = [module for name, module in model.named_modules() if name.rpartition(".")[2] in _LISTS]
    return list(max((each for each in lists if isinstance(each, nn.ModuleList)), key=len, default=[]))


def _compiler() -> str | None:
    """The C++ compiler that torch would call."""
    asked = os.environ.get("CXX")
    return shutil.which(asked) if asked else shutil.which("g++") or shutil.which("clang++")
