"""How many frames a model gives for so many samples, found out by asking it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Ask = Callable[[int], int]
"""Samples -> the frames that the model gives for them; 0 where it gives none or fails."""
_LONGEST = 60 * 16000
"""Samples: a model that gives one frame for a minute is taken to give one for any clip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameCount:
    """Frames as a function of samples.

    A new frame every `hop` samples once there are `second`; where a model has no such rule, it is asked each time.
    """

    least: int
    """The fewest samples that give a frame; shorter clips are filled up to it."""
    second: int | None
    """The fewest samples that give two; none: there is always one."""
    hop: int | None
    """Samples from one frame to the next; none where frames keep no even distance."""
    ask: Ask
    _asked: dict[int, int] = field(default_factory=dict)

    def __call__(self, samples: int) -> int:
        """Frames of a clip of `samples`; at least one."""
        samples = max(samples, self.least)
        if self.second is None or samples < self.second:
            return 1
        if self.hop is not None:
            return 2 + (samples - self.second) // self.hop
        if samples not in self._asked:
            self._asked[samples] = self.ask(samples)
        return self._asked[samples]


def measured(ask: Ask) -> FrameCount | None:
    """The rule of a model whose frames never become fewer with more samples; none: it gives no frame at all.

    The first three frames are found by bisection; an even distance between them is then held against longer clips.
    """
    least = _fewest(ask, 1, 0)
    if least is None:
        return None
    if ask(least) > 1:
        return FrameCount(least=least, second=least, hop=None, ask=ask)
    second = _fewest(ask, 2, least)
    third = None if second is None else _fewest(ask, 3, second)
    hop = None if second is None or third is None else third - second
    even = FrameCount(least=least, second=second, hop=hop or None, ask=ask)
    if second is not None and hop:
        edges = [second + n * hop - m for n in (1, 2, 5, 11) for m in (0, 1)]
        if any(ask(samples) != even(samples) for samples in edges):
            return FrameCount(least=least, second=second, hop=None, ask=ask)
    return even


def _fewest(ask: Ask, frames: int, below: int) -> int | None:
    """The fewest samples that give so many frames, where `below` give fewer; none: a minute does not."""
    above = max(16000, 2 * below)
    while ask(above) < frames:
        if above >= _LONGEST:
            return None
        below, above = above, min(2 * above, _LONGEST)
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if ask(middle) >= frames else (middle, above)
    return above
