"""The settings of `pretrain`, and the learning rate that follows from them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from emofuse.common.errors import raise_problems
from emofuse.extract.encoders.networks.trill_network import DIMENSIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainSettings:
    """How the network is trained."""

    dimension: int = 512
    """D of the last layer."""
    steps: int = 300
    batch: int = 16
    """Pieces of recordings per step."""
    patches: int = 4
    """Patches per piece, all close to each other in time."""
    tau: float = 10.0
    """Maximum seconds between the starts of two patches of a positive pair; 10 in Shor et al. 2020."""
    delta: float = 0.2
    """Margin of the triplet loss, in squared distances between unit-length vectors (0 to 4)."""
    projection: int = 64
    """Dimensions that the last layer is projected to before distances are taken; the projection is not stored."""
    lr: float = 1e-3
    """Peak learning rate."""
    weight_decay: float = 0.01
    warmup: float = 0.1
    """Fraction of the steps in which the learning rate rises linearly from 0; it then falls to 0 along a cosine."""
    seed: int = 0

    def __post_init__(self) -> None:
        minimum = {"steps": 1, "batch": 2, "patches": 2, "projection": 1, "seed": 0}
        problems = [
            f"{name} is {getattr(self, name)}, expected at least {n}"
            for name, n in minimum.items()
            if getattr(self, name) < n
        ]
        problems += [
            f"{name} is {getattr(self, name)}, expected more than 0"
            for name in ("tau", "lr")
            if not 0 < getattr(self, name) < math.inf
        ]
        problems += [] if 0 <= self.delta < 4 else [f"delta is {self.delta}, expected 0 to less than 4"]
        problems += [] if 0 <= self.warmup < 1 else [f"warmup is {self.warmup}, expected 0 to less than 1"]
        if self.dimension not in DIMENSIONS:
            problems.append(f"dimension is {self.dimension}, expected {' or '.join(map(str, DIMENSIONS))}")
        raise_problems(problems, "these settings cannot work")

    def identity(self) -> dict[str, Any]:
        """Everything that determines the weights, JSON-ready."""
        return asdict(self)

    def rate(self, step: int) -> float:
        """The learning rate of a step (counted from 0)."""
        rising = round(self.warmup * self.steps)
        if step < rising:
            return self.lr * (step + 1) / (rising + 1)
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, self.steps - rising)))
