"""What the speech and text encoders over a transformers checkpoint have in common."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from emofuse.extract.encoders.base import Array
from emofuse.extract.encoders.blocks.pretrained import Pretrained


@dataclass(frozen=True, slots=True, kw_only=True)
class HubTransformer:
    """An encoder whose layers are those of a transformers checkpoint."""

    pretrained: Pretrained

    @property
    def dimension(self) -> int:
        """The hidden size."""
        return int(self.pretrained.config.hidden_size)

    @property
    def layers(self) -> tuple[int, ...]:
        """The chosen layers; empty for a single layer or a mean."""
        return self.pretrained.layers.axis

    def provenance(self) -> dict[str, Any]:
        """Library versions, origin of the weights, and the data that they were trained on."""
        return self.pretrained.provenance()

    def with_all_layers(self) -> Self:
        """The same model with every layer on the layer axis."""
        return replace(self, pretrained=self.pretrained.with_all_layers())

    def select_layers(self, values: Array) -> Array:
        """The chosen layers, [T, D] or [T, L, D], of the values of all layers, [T, all layers, D]."""
        return self.pretrained.layers.select(values)
