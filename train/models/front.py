"""What is put in front of any architecture: a learned sum over encoder layers, and several features as one.

- Weighted layers (SUPERB: Yang et al., Interspeech 2021): a feature with a layer axis becomes sum_l softmax(w)_l x_l,
  with one learned scalar w_l per layer, zero at the start, so that all layers begin equal. As by default in SUPERB's
  public code, layers are not normalised first; of a standardised feature, each dimension of each layer is standardised.
- `concatenate`: [x_1, ..., x_n] at each frame.
- `gated` (Gated Multimodal Unit: Arevalo et al., ICLR workshop 2017, eq. 1-5), at each frame:
  h_i = tanh(W_i x_i), z = softmax over i of V_i [x_1, ..., x_n], h = sum_i z_i * h_i (element by element).
  For two features, the softmax is the paper's tied sigmoid. h has `GATED_WIDTH` dimensions. There are no biases, so
  padding stays zero.

Shapes: B batch, T time steps, L encoder layers, D feature dimension, n features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emofuse.train.models.base import FusionModel

GATED_WIDTH = 128
"""Of gated features; a gate in the features' own width would cost more than most of the models behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """How the features of one modality become what a model reads."""

    parts: tuple[tuple[int, int], ...]
    """(L, D) of each feature, in the order of the input's values; L is 0 where there is no layer axis."""
    gated: bool = False
    """Whether several features are gated; else they are concatenated."""

    @property
    def sizes(self) -> list[int]:
        """Values per frame of each feature, all layers."""
        return [max(layers, 1) * dimension for layers, dimension in self.parts]

    @property
    def dimension(self) -> int:
        """D of what the model reads."""
        return GATED_WIDTH if self.gated else sum(dimension for _, dimension in self.parts)


class ModalityFront(nn.Module):
    """The front of one modality: values of all features end to end [B, T, sum of max(L, 1) D] to [B, T, D]."""

    def __init__(self, front: Front) -> None:
        super().__init__()
        self.front = front
        self.layers = nn.ParameterDict(
            {str(i): nn.Parameter(torch.zeros(layers)) for i, (layers, _) in enumerate(front.parts) if layers}
        )
        self.project, self.gate = nn.ModuleList(), nn.ModuleList()
        if front.gated:
            total = sum(dimension for _, dimension in front.parts)
            for _, dimension in front.parts:
                self.project.append(nn.Linear(dimension, front.dimension, bias=False))
                self.gate.append(nn.Linear(total, front.dimension, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] of `x` [B, T, sum of max(L, 1) D]."""
        features = []
        for i, part in enumerate(torch.split(x, self.front.sizes, dim=-1)):
            layers, dimension = self.front.parts[i]
            if layers:
                part = weighted_sum(part.view(*part.shape[:-1], layers, dimension), self.layers[str(i)])
            features.append(part)
        together = torch.cat(features, dim=-1)
        if not self.front.gated:
            return together
        gates = torch.stack([gate(together) for gate in self.gate]).softmax(0)
        values = [torch.tanh(project(f)) for project, f in zip(self.project, features, strict=True)]
        return (gates * torch.stack(values)).sum(0)


def weighted_sum(x: Tensor, w: Tensor) -> Tensor:
    """[..., D], the sum over layers of `x` [..., L, D] weighted by softmax(w) [L]."""
    return torch.matmul(torch.softmax(w, dim=0), x)


def with_fronts(model: FusionModel, fronts: Mapping[str, Front]) -> FusionModel:
    """The model, which from now on reads the features of `fronts` (by modality) as they are stored.

    The fronts become part of it, as `front.audio` and `front.text`; all other weights keep their names and values.
    """
    if fronts:
        model.front = nn.ModuleDict({modality: ModalityFront(front) for modality, front in fronts.items()})
        model.register_forward_pre_hook(_apply_fronts)
    return model


def _apply_fronts(model: nn.Module, inputs: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """Audio, audio lengths, text and text lengths with the fronts of the model applied to the features."""
    audio, audio_lengths, text, text_lengths = inputs
    fronts = model.get_submodule("front")
    assert isinstance(fronts, nn.ModuleDict)
    audio, text = (fronts[m](x) if x is not None and m in fronts else x for m, x in (("audio", audio), ("text", text)))
    return audio, audio_lengths, text, text_lengths
