"""Compiling transformer layers with `torch.compile`, with dynamic shapes because lengths change from batch to batch."""

from __future__ import annotations

import os
import shutil
from typing import Any

from emofuse.common.output.console import warn

_LISTS = ("layers", "layer", "block")
"""Names that models give to the list of their transformer layers."""


def compile_layers(model: Any, device: str) -> bool:
    """Compile each transformer layer of `model`; print a note and change nothing where there is no compiler.

    On a CPU the first batches take half a minute longer; benchmarks/NOTES.md has the measured speed-up.

    Returns:
        Whether the layers are compiled.
    """
    import torch

    if device == "cpu" and not _compiler():
        warn("no C++ compiler found: the encoder runs without --compile")
        return False
    layers = _layers(model)
    for layer in layers:
        layer.forward = torch.compile(layer.forward, dynamic=True)
    return bool(layers)


def _layers(model: Any) -> list[Any]:
    """The longest list of layers in the model."""
    from torch import nn

    named = [module for name, module in model.named_modules() if name.rpartition(".")[2] in _LISTS]
    lists = (module for module in named if isinstance(module, nn.ModuleList))
    return list(max(lists, key=len, default=[]))


def _compiler() -> str | None:
    """Path of the C++ compiler that torch would call."""
    chosen = os.environ.get("CXX")
    return shutil.which(chosen) if chosen else shutil.which("g++") or shutil.which("clang++")
