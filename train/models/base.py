"""What every fusion model is: the contract between the architectures and the one training loop.

Shapes: B batch, Ta frames, Tt words, L layers, D width of a feature, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emofuse.train.models.config import Config

OTHER = {"audio": "text", "text": "audio"}
"""The modality that a modality is fused with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a model is built for: the width of each modality in use, layers per frame (0: no layer axis), classes."""

    audio: int | None = None
    text: int | None = None
    layers: int = 0
    classes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """What a forward pass gives: logits [B, C], and what the loss needs beside them.

    `aux["fused"]`, where a model has it, is the utterance's representation that the last classifier sees: [B, D].
    """

    logits: Tensor
    aux: dict[str, Tensor] = field(default_factory=dict)


class FusionModel(nn.Module):
    """A fusion architecture.

    Results never depend on padding nor on the other utterances of a batch. No control flow depends on data, there is no
    state beyond parameters and declared buffers, and random tensors are drawn outside (`draw`) and passed in.
    """

    class_weights: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("class_weights", None, persistent=False)

    def forward(
        self,
        audio: Tensor | None,
        audio_lengths: Tensor | None,
        text: Tensor | None,
        text_lengths: Tensor | None,
        *,
        draws: Mapping[str, Tensor] | None = None,
        progress: float = 1.0,
    ) -> Outputs:
        """Classify a padded batch.

        Args:
            audio: [B, Ta, D] (or [B, Ta, L, D]), zero on padding; none where audio is not used, or is absent at
                inference and `ModelSpec.optional` names it. `text` likewise.
            audio_lengths: True lengths [B], at least 1.
            draws: What `draw` gave; none in evaluation.
            progress: Share of the training steps done, for what a paper schedules.
        """
        raise NotImplementedError

    def loss(self, outputs: Outputs, labels: Tensor) -> Tensor:
        """The paper's own sum, a scalar, for labels [B]."""
        return self.cross_entropy(outputs.logits, labels)

    def draw(self, batch: int, frames: int, words: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Random tensors for one training step; none by default."""
        return {}

    def probabilities(self, outputs: Outputs) -> Tensor:
        """Class probabilities [B, C] that sum to one."""
        return torch.softmax(outputs.logits, dim=1)

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy, by class weights where they were asked for."""
        return F.cross_entropy(logits, labels, weight=self.class_weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """A variant of an architecture that its paper names."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """What it sets, and nobody may set otherwise."""
    modalities: tuple[str, ...] | None = None
    """What it reads; none: all that the architecture does."""
    model: str | None = None
    """Another registered model that it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A registered architecture: what it reads, its presets, and how to build it."""

    modalities: tuple[str, ...]
    needs: Literal["all", "any", "one"] = "all"
    """Whether it needs every one of `modalities`, at least one, or exactly one."""
    features: Mapping[str, str]
    """The feature it takes by default, per modality."""
    preset: Callable[[str], Config]
    """Corpus -> hyper-parameters."""
    build: Callable[[Any, Inputs], FusionModel]
    """A `Config` of the preset's type and the inputs -> the model, initialised from torch's global generator."""
    pool: Literal["frames", "mean", "mean+deviation"] = "frames"
    """What it sees of an utterance: all its frames, or one vector that is taken once, when the features are loaded."""
    layered: bool = False
    """Whether it reads features that have a layer axis (and no others)."""
    optional: tuple[str, ...] = ()
    """Modalities that may be absent at inference, though it was trained with them."""
    ablations: Mapping[str, Ablation] = field(default_factory=dict)
    """The paper's own variants, by the names that it prints."""
    zero_gradient: tuple[str, ...] = ()
    """Parameters, by the end of their names, whose gradient is zero by algebra."""
