"""What a call of `finetune` may choose, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from emofuse.common.errors import complain


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneSettings:
    """How an encoder is fitted."""

    epochs: float = 5.0
    """Passes over the training side at most."""
    batch: int = 32
    """Utterances of an update, in `accumulate` parts."""
    accumulate: int = 1
    """Parts of a batch that lie in memory one after the other."""
    lr: float = 3e-5
    """Of the highest layer."""
    head_lr: float = 1e-3
    """Of the classifier on top."""
    layer_decay: float = 0.9
    """What the rate of each layer is to that of the layer above it."""
    weight_decay: float = 0.01
    warmup: float = 0.1
    """The share of all updates during which rates rise from 0; then they fall to 0, both linearly."""
    unfreeze_every: int | None = None
    """Updates after which one more layer is set free, from the last down; 0: all at once; none: so that all are free
    after a third of the updates."""
    looks: int = 2
    """Looks at validation per epoch."""
    patience: int = 4
    """Looks without a better score, once all layers are free, after which a fold ends."""
    dropout: float = 0.1
    """Before the classifier."""
    clip: float = 1.0
    """The largest norm of all gradients together."""
    class_weights: str = "none"
    max_seconds: float = 20.0
    """What a longer clip is cut to, while fitting."""
    precision: str = "fp32"
    """fp32, or what products are computed in while weights stay fp32: bf16, fp16."""
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
            problems.append(f"a batch of {self.batch} cannot be taken in {self.accumulate} equal parts")
        complain(problems, "these settings cannot work")

    def _above(self, name: str) -> bool:
        return bool(0 < getattr(self, name) < math.inf)

    def identity(self) -> dict[str, Any]:
        """Everything that decides the weights, JSON-ready; in how many parts a batch is taken changes its rounding."""
        return {key: value for key, value in asdict(self).items() if key != "accumulate"}

    def advice(self) -> str:
        """What takes less memory."""
        several = self.batch // self.accumulate
        if several == 1:
            return f"one utterance at once is too much: cut clips, --max-seconds {self.max_seconds / 2:g}"
        parts = next(n for n in range(self.accumulate + 1, self.batch + 1) if self.batch % n == 0)
        return (
            f"{several} utterances lay in it at once: the same command with --accumulate {parts} takes "
            f"{self.batch // parts}, and goes on where this one stopped"
        )

    def updates(self, utterances: int) -> tuple[int, int]:
        """Updates in all, and from one look at validation to the next, for so many training utterances."""
        per_epoch = max(1, utterances // self.batch)
        total = max(1, round(self.epochs * per_epoch))
        return total, max(1, min(total, per_epoch // self.looks))

    def stage(self, total: int, blocks: int) -> int:
        """Updates after which one more block is set free; 0: all are from the start."""
        return max(1, total // (3 * blocks)) if self.unfreeze_every is None else self.unfreeze_every

    def freed(self, update: int, total: int, blocks: int) -> int:
        """How many blocks are free in the update of that number (from 0); the last block is from the start."""
        every = self.stage(total, blocks)
        return blocks if not every else min(blocks, 1 + update // every)

    def factor(self, update: int, total: int) -> float:
        """What rates are multiplied with in the update of that number (from 0)."""
        rising = round(self.warmup * total)
        if update < rising:
            return (update + 1) / (rising + 1)
        return max(0.0, (total - update) / max(1, total - rising))


def rates(settings: FinetuneSettings, blocks: Sequence[str]) -> list[float]:
    """The highest rate of each block, from the input to the output: falling by `layer_decay` from the last one down."""
    return [settings.lr * settings.layer_decay ** (len(blocks) - 1 - k) for k in range(len(blocks))]
