"""The settings of `finetune`, and the schedules that follow from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from emofuse.common.errors import raise_problems


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneSettings:
    """How an encoder is fine-tuned."""

    epochs: float = 5.0
    """Maximum number of passes over the training side."""
    batch: int = 32
    """Utterances per update."""
    accumulate: int = 1
    """Sub-batches per update, computed one after the other to save memory."""
    lr: float = 3e-5
    """Peak learning rate of the highest layer."""
    head_lr: float = 1e-3
    """Peak learning rate of the classifier."""
    layer_decay: float = 0.9
    """Ratio of the learning rate of a layer to that of the layer above it."""
    weight_decay: float = 0.01
    warmup: float = 0.1
    """Fraction of all updates in which learning rates rise linearly from 0; they then fall linearly to 0."""
    unfreeze_every: int | None = None
    """Updates after which one more layer is unfrozen, from the last one down; 0 unfreezes all layers at once; None
    spreads the stages over the first third of the updates."""
    looks: int = 2
    """Evaluations on the validation side per epoch."""
    patience: int = 4
    """Evaluations without a better score, once all layers are unfrozen, after which a fold ends."""
    dropout: float = 0.1
    """Before the classifier."""
    clip: float = 1.0
    """Maximum norm of all gradients together."""
    class_weights: str = "none"
    """Weights of the classes in the loss: none or balanced."""
    max_seconds: float = 20.0
    """Length in seconds to which longer clips are cut during training."""
    precision: str = "fp32"
    """fp32, or mixed precision with float32 weights: bf16 or fp16."""
    seed: int = 0

    def __post_init__(self) -> None:
        positive = ("epochs", "batch", "accumulate", "lr", "head_lr", "looks", "patience", "clip", "max_seconds")
        problems = [
            f"{name} is {getattr(self, name)}, expected a number above 0" for name in positive if not self._above(name)
        ]
        problems += [] if 0 < self.layer_decay <= 1 else [f"layer_decay is {self.layer_decay}, expected 0 to 1"]
        problems += [
            f"{name} is {getattr(self, name)}, expected 0 to less than 1"
            for name in ("warmup", "dropout")
            if not 0 <= getattr(self, name) < 1
        ]
        if not 0 <= self.weight_decay < math.inf:
            problems.append(f"weight_decay is {self.weight_decay}, expected 0 or more")
        if self.unfreeze_every is not None and self.unfreeze_every < 0:
            problems.append(f"unfreeze_every is {self.unfreeze_every}, expected 0 (all at once) or more")
        if self._above("accumulate") and self.batch % self.accumulate:
            problems.append(f"a batch of {self.batch} cannot be divided into {self.accumulate} equal micro-batches")
        raise_problems(problems, "these settings cannot work")

    def _above(self, name: str) -> bool:
        return bool(0 < getattr(self, name) < math.inf)

    def identity(self) -> dict[str, Any]:
        """Everything that determines the weights, JSON-ready; `accumulate` changes only their rounding."""
        return {key: value for key, value in asdict(self).items() if key != "accumulate"}

    def memory_hint(self) -> str:
        """How to use less memory, as the end of a message."""
        together = self.batch // self.accumulate
        if together == 1:
            return f"a single utterance is too large: cut clips, --max-seconds {self.max_seconds / 2:g}"
        accumulate = next(n for n in range(self.accumulate + 1, self.batch + 1) if self.batch % n == 0)
        return (
            f"it held {together} utterances at once: the same command with --accumulate {accumulate} holds "
            f"{self.batch // accumulate}, and resumes where this one stopped"
        )

    def updates(self, utterances: int) -> tuple[int, int]:
        """The total number of updates, and the updates between evaluations, for this number of training utterances."""
        per_epoch = max(1, utterances // self.batch)
        total = max(1, round(self.epochs * per_epoch))
        return total, max(1, min(total, per_epoch // self.looks))

    def unfreezing_interval(self, total: int, blocks: int) -> int:
        """Updates after which one more block is unfrozen; 0 where all are unfrozen from the start."""
        return max(1, total // (3 * blocks)) if self.unfreeze_every is None else self.unfreeze_every

    def unfrozen(self, update: int, total: int, blocks: int) -> int:
        """Number of unfrozen blocks in an update (counted from 0); the last block is unfrozen from the start."""
        interval = self.unfreezing_interval(total, blocks)
        return blocks if not interval else min(blocks, 1 + update // interval)

    def rate_factor(self, update: int, total: int) -> float:
        """Fraction of the peak learning rates in an update (counted from 0)."""
        rising = round(self.warmup * total)
        if update < rising:
            return (update + 1) / (rising + 1)
        return max(0.0, (total - update) / max(1, total - rising))


def peak_rates(settings: FinetuneSettings, blocks: Sequence[str]) -> list[float]:
    """The peak learning rate of each block, from the input to the output."""
    return [settings.lr * settings.layer_decay ** (len(blocks) - 1 - k) for k in range(len(blocks))]
