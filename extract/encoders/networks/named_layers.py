"""Layers whose parameters are looked up by name: linear layers and layer norms."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from emofuse.extract.encoders.blocks.patch_encoder import Tensors

EPSILON = 1e-5
"""Of the layer norms."""


def affine(name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The shapes of a layer's weight, `shape`, and bias, [shape[0]], by name."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def linear(weights: Tensors, name: str, hidden: torch.Tensor) -> torch.Tensor:
    """The linear layer called `name` over the last axis."""
    import torch.nn.functional as F

    return F.linear(hidden, weights[f"{name}.weight"], weights[f"{name}.bias"])


def norm(weights: Tensors, name: str, hidden: torch.Tensor) -> torch.Tensor:
    """The layer norm called `name` over the last axis."""
    import torch.nn.functional as F

    return F.layer_norm(hidden, hidden.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], EPSILON)
