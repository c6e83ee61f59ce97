"""The contract between the fusion models and the training loop.

Shapes: B batch, Ta audio frames, Tt words (word pieces), L encoder layers, D feature dimension, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from emofuse.train.models.config import Config
from emofuse.train.models.criterion import Criterion
from emofuse.train.models.objective import Objective

Context = Literal["before", "all"]
OTHER_MODALITY = {"audio": "text", "text": "audio"}
"""Modality -> the modality that it is fused with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The sizes that a model is built for."""

    audio: int | None = None
    """Feature dimension; None where the modality is not used."""
    text: int | None = None
    layers: int = 0
    """Encoder layers per frame; 0 means features without a layer axis."""
    classes: int
    """The outputs of the classifier: one for each class, and one for each dimension that is rated."""

    @property
    def dimensions(self) -> dict[str, int]:
        """Modality in use -> feature dimension, audio first."""
        sizes = (("audio", self.audio), ("text", self.text))
        return {modality: size for modality, size in sizes if size is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """The result of a forward pass: logits [B, C], and in `aux` the tensors that the loss needs besides them.

    `aux["fused"]`, where a model has it, is the input of the last classifier: one vector per utterance, [B, D].
    """

    logits: Tensor
    aux: dict[str, Tensor] = field(default_factory=dict)


class FusionModel(nn.Module):
    """Base class of the fusion models.

    Results must not depend on padding or on the other utterances of a batch. Control flow must not depend on data.
    Parameters and registered buffers are the only state. Random tensors are drawn by `draw` and passed to `forward`.
    """

    class_weights: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("class_weights", None, persistent=False)
        self.criterion = Criterion()
        """What the outputs mean, and the loss of the target."""
        self.objective: Objective | None = None
        """What the settings change in the cross-entropy of training steps; None: nothing."""

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
            audio: [B, Ta, D] or [B, Ta, L, D], zero on padding. None where the model does not use audio, or where
                audio is absent at inference and `ModelSpec.optional` allows it.
            audio_lengths: Number of frames before padding [B], at least 1.
            text: As `audio`: [B, Tt, D] or [B, Tt, L, D].
            text_lengths: As `audio_lengths`.
            draws: The result of `draw`; None in evaluation.
            progress: Share of the training steps done so far, for schedules.
        """
        raise NotImplementedError

    def loss(self, outputs: Outputs, labels: Tensor) -> Tensor:
        """The paper's loss, a scalar; `labels` are true values [B] or [B, ...], as `Truth` says.

        Where the paper has the cross-entropy of a classifier, this is the `target_loss`.
        """
        return self.target_loss(outputs.logits, labels)

    def draw(self, batch: int, frames: int, words: int, generator: torch.Generator) -> dict[str, Tensor]:
        """The random tensors of one training step on audio [B, `frames`, D] and text [B, `words`, D]."""
        return {}

    def after_step(self, progress: float) -> None:
        """Called after each training step, whose `progress` it gets; for a model that is trained in stages."""

    def probabilities(self, outputs: Outputs) -> Tensor:
        """What is scored, [B, K]: class probabilities, whose rows sum to one, or what else the target's values are."""
        return self.criterion.values(outputs.logits)

    def target_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of the target of outputs [B, K], with the class weights if they are set: cross-entropy for a class.

        Training steps use `objective` if it is set; validation does not, so that its losses can be compared.
        """
        objective = self.objective if self.training else None
        return self.criterion.loss(logits, labels, self.class_weights, objective)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """A variant of an architecture that its paper names."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that the ablation fixes; `--set` cannot change them."""
    modalities: tuple[str, ...] | None = None
    """Modalities that the variant reads; None means those of the architecture."""
    model: str | None = None
    """Another registered model that is this variant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A registered architecture: its inputs, its presets, and how to build it."""

    modalities: tuple[str, ...]
    needs: Literal["all", "any", "one"] = "all"
    """Whether the model needs all of `modalities`, at least one, or exactly one."""
    features: Mapping[str, str]
    """Modality -> default feature."""
    preset: Callable[[str], Config]
    """Corpus name -> hyper-parameters."""
    build: Callable[[Any, Inputs], FusionModel]
    """(`Config` of the preset's type, inputs) -> model, initialised from torch's global generator."""
    pool: Literal["frames", "mean", "mean+deviation"] = "frames"
    """Input per utterance: all frames, or one vector, pooled over time when the features are loaded."""
    layered: bool = False
    """Whether the model reads features with a layer axis, and only those."""
    optional: tuple[str, ...] = ()
    """Modalities that may be absent at inference, although the model was trained with them."""
    ablations: Mapping[str, Ablation] = field(default_factory=dict)
    """The paper's variants, by their printed names."""
    context: Callable[[Any], Context] | None = None
    """`Config` of the preset's type -> which turns of its dialogue the model reads for an utterance: those `before`
    it, or `all`. Such a model takes `dialogues` (`blocks/dialogues.py`). None: it reads each utterance alone."""
    parties: bool = False
    """Whether the model needs to know who speaks."""
