"""What is exported: the mean of trained models, from features as the store has them to class probabilities.

Cutting, pooling and standardisation are inside, so that a consumer needs nothing but features and their lengths.

Shapes: B batch, T frames or words, L encoder layers, D feature dimension, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emofuse.manifests.metrics.calibration import SMALLEST
from emofuse.train.data.batches import Statistics
from emofuse.train.fitting.model_file import ModelRecipe
from emofuse.train.models.base import FusionModel
from emofuse.train.models.blocks.layers import masked_mean, time_mask
from emofuse.train.models.config import longest_input
from emofuse.train.models.registry import MODELS

PROBABILITIES, CALIBRATED = "probabilities", "calibrated_probabilities"
"""The names of the outputs; the second one is only there for models with a temperature."""


def input_names(modalities: Sequence[str]) -> list[str]:
    """The names of the inputs in their order: `audio`, `audio_lengths`, `text`, `text_lengths`, of those in use."""
    return [name for m in modalities for name in (m, f"{m}_lengths")]


class ExportedMember(nn.Module):
    """One trained model, with the cutting, pooling and standardisation of its inputs."""

    def __init__(
        self, model: FusionModel, recipe: ModelRecipe, statistics: Statistics, temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.model, self.pool = model, MODELS[recipe.model].pool
        self.modalities = tuple(recipe.inputs.dimensions)
        self.fronts = tuple(recipe.fronts)
        """Modalities whose layers are read end to end."""
        self.longest = {m: longest_input(recipe.settings, m) for m in self.modalities}
        self.standardised = tuple(statistics)
        for modality, (mean, scale) in statistics.items():
            self.register_buffer(f"{modality}_mean", mean)
            self.register_buffer(f"{modality}_scale", scale)

    def statistics(self) -> Statistics:
        """Modality -> mean [D] and scale [D]."""
        return {m: (self.get_buffer(f"{m}_mean"), self.get_buffer(f"{m}_scale")) for m in self.standardised}

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Class probabilities [B, C]."""
        prepared = {m: self._prepare(m, inputs[m], inputs[f"{m}_lengths"]) for m in self.modalities}
        audio, audio_lengths = prepared.get("audio", (None, None))
        text, text_lengths = prepared.get("text", (None, None))
        outputs = self.model(audio, audio_lengths, text, text_lengths)
        probabilities: Tensor = self.model.probabilities(outputs)
        return probabilities

    def _prepare(self, modality: str, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What `train.data` does to a batch: cut, pool, standardise, zero on padding."""
        longest = self.longest[modality]
        if longest is not None:
            x, lengths = x[:, :longest], lengths.clamp(max=longest)
        if self.pool != "frames":
            x, lengths = pooled(x, lengths, deviation=self.pool == "mean+deviation"), torch.ones_like(lengths)
        if modality in self.fronts:
            x = x.flatten(2)
        if modality in self.standardised:
            mean, scale = self.statistics()[modality]
            x = (x - mean) / scale
        mask = time_mask(lengths, x.shape[1], x.device)
        return x.masked_fill(~mask.reshape(*mask.shape, *[1] * (x.dim() - 2)), 0), lengths


def pooled(x: Tensor, lengths: Tensor, *, deviation: bool) -> Tensor:
    """The mean over time, or mean and standard deviation: [B, T, ..., D] -> [B, 1, ..., D] or [B, 1, ..., 2 D].

    In double precision, like the pooling when features are loaded.
    """
    wide = x.double()
    mean = masked_mean(wide, lengths)
    parts = [mean]
    if deviation:
        parts.append(masked_mean((wide - mean.unsqueeze(1)).square(), lengths).sqrt())
    return torch.cat(parts, dim=-1).float().unsqueeze(1)


class ExportedModel(nn.Module):
    """The mean of the probabilities of one or several trained models of a run, which read the same inputs."""

    def __init__(self, members: Sequence[ExportedMember]) -> None:
        super().__init__()
        self.inputs = input_names(members[0].modalities)
        self.temperatures = [member.temperature for member in members]
        self.calibrated = any(temperature != 1 for temperature in self.temperatures)
        self.outputs = [PROBABILITIES, CALIBRATED] if self.calibrated else [PROBABILITIES]
        self.members = nn.ModuleList(members)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The probabilities [B, C] of a padded batch, and of calibrated models the calibrated ones [B, C].

        Args:
            inputs: By modality, audio first: features [B, T, D] (or [B, T, L, D]) in float32, whose padding may hold
                anything, and the number of frames before padding [B] in int64, at least 1.
        """
        named = dict(zip(self.inputs, inputs, strict=True))
        each = [member(named) for member in self.members]
        mean = torch.stack(each).mean(0)
        if not self.calibrated:
            return (mean,)
        scaled = [with_temperature(p, t) for p, t in zip(each, self.temperatures, strict=True)]
        return mean, torch.stack(scaled).mean(0)


def with_temperature(probabilities: Tensor, temperature: float) -> Tensor:
    """The probabilities [B, C] of logits that are divided by a temperature."""
    return torch.softmax(probabilities.clamp(min=SMALLEST).log() / temperature, dim=1)


def arrays(outputs: Sequence[Tensor]) -> list[NDArray[np.float32]]:
    """The outputs of a model in NumPy."""
    return [x.detach().numpy() for x in outputs]
