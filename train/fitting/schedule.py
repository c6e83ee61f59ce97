"""The learning rate at each step, and when a training stops early; both follow from the settings and the history alone.

So nothing is stored for a training that resumes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from emofuse.train.models.config import Config

PLATEAU = 2
"""After this many evaluations in a row without a better one, `plateau` multiplies the learning rate by `FACTOR`."""
FACTOR = 0.5


def is_scheduled(settings: Config) -> bool:
    """Whether the learning rate changes during the training."""
    return settings.schedule != "constant" or settings.warmup > 0


def learning_rate(settings: Config, step: int, steps: int, scores: Iterable[float] = ()) -> float:
    """The learning rate of a training step.

    It rises linearly over the first `warmup` of the training. Then it is constant, falls linearly to zero or along half
    a cosine (Loshchilov and Hutter, ICLR 2017, without restarts), or is multiplied by `FACTOR` at each plateau.

    Args:
        settings: Of the training.
        step: From 1.
        steps: Of the whole training.
        scores: The validation scores so far, for `plateau`; higher is better.
    """
    rising = settings.warmup * steps
    if step < rising:
        return settings.lr * step / rising
    done = max(0.0, step - 1 - rising) / (steps - rising)
    match settings.schedule:
        case "linear":
            return settings.lr * (1 - done)
        case "cosine":
            return settings.lr * (1 + math.cos(math.pi * done)) / 2
        case "plateau":
            return settings.lr * FACTOR ** plateaus(scores)
    return settings.lr


def plateaus(scores: Iterable[float]) -> int:
    """How many times `PLATEAU` scores in a row were not above the best one before them."""
    best, waited, found = -math.inf, 0, 0
    for score in scores:
        waited = 0 if score > best else waited + 1
        best = max(best, score)
        if waited == PLATEAU:
            found, waited = found + 1, 0
    return found
