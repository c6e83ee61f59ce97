"""What a call of `pretrain` may choose, and what follows from it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from emofuse.common.errors import complain
from emofuse.extract.encoders.blocks.trill_network import DIMENSIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainSettings:
    """How the network is fitted."""

    dimension: int = 512
    """D of the last layer."""
    steps: int = 300
    batch: int = 16
    """Pieces of recordings in a step,"""
    patches: int = 4
    """and patches of each, all of them near each other in time."""
    tau: float = 10.0
    """Seconds between the beginnings of two patches up to which they are a positive pair; Shor et al. 2020: 10."""
    delta: float = 0.2
    """The margin, in squared distances of vectors of length 1 (0 to 4)."""
    projection: int = 64
    """What the last layer is brought down to before distances are taken; thrown away afterwards."""
    lr: float = 1e-3
    """The highest rate."""
    weight_decay: float = 0.01
    warmup: float = 0.1
    """The share of steps in which the rate rises from 0; then it falls to 0 along a cosine."""
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"steps": 1, "batch": 2, "patches": 2, "projection": 1, "seed": 0}
        problems = [
            f"{name} is {getattr(self, name)}, expected at least {n}"
            for name, n in least.items()
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
        complain(problems, "these settings cannot work")

    def identity(self) -> dict[str, Any]:
        """Everything that decides the weights, JSON-ready."""
        return asdict(self)

    def rate(self, step: int) -> float:
        """The rate of the step of that number (from 0)."""
        rising = round(self.warmup * self.steps)
        if step < rising:
            return self.lr * (step + 1) / (rising + 1)
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, self.steps - rising)))
