"""The number of frames that a model returns for a number of samples, measured by running the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

CountFrames = Callable[[int], int]
"""Runs the model on so many samples and returns its number of frames; 0 where it fails."""
_LONGEST = 60 * 16000
"""Samples: a model that returns one frame for a minute is assumed to return one for any clip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameCount:
    """Number of frames as a function of the number of samples.

    From `two_frames` samples on there is another frame every `hop` samples; without such a rule the model is run.
    """

    least: int
    """The fewest samples that give a frame; shorter clips are zero-padded to it."""
    two_frames: int | None
    """The fewest samples that give two frames; None means that there is always one."""
    hop: int | None
    """Samples from one frame to the next; None where the distance varies."""
    count: CountFrames
    _counted: dict[int, int] = field(default_factory=dict)

    def __call__(self, samples: int) -> int:
        """Frames of a clip of `samples`, at least 1."""
        samples = max(samples, self.least)
        if self.two_frames is None or samples < self.two_frames:
            return 1
        if self.hop is not None:
            return 2 + (samples - self.two_frames) // self.hop
        if samples not in self._counted:
            self._counted[samples] = self.count(samples)
        return self._counted[samples]


def measure(count: CountFrames) -> FrameCount | None:
    """Find the rule of a model whose frames never decrease with more samples; None where it returns no frame at all.

    Bisection finds the fewest samples for one, two and three frames; an even distance is verified on longer clips.
    """
    least = _fewest(count, 1, 0)
    if least is None:
        return None
    if count(least) > 1:
        return FrameCount(least=least, two_frames=least, hop=None, count=count)
    second = _fewest(count, 2, least)
    third = None if second is None else _fewest(count, 3, second)
    hop = None if second is None or third is None else third - second
    even = FrameCount(least=least, two_frames=second, hop=hop or None, count=count)
    if second is not None and hop:
        edges = [second + n * hop - m for n in (1, 2, 5, 11) for m in (0, 1)]
        if any(count(samples) != even(samples) for samples in edges):
            return FrameCount(least=least, two_frames=second, hop=None, count=count)
    return even


def _fewest(count: CountFrames, frames: int, below: int) -> int | None:
    """The fewest samples that give `frames`, knowing that `below` give fewer; None where a minute gives fewer."""
    above = max(16000, 2 * below)
    while count(above) < frames:
        if above >= _LONGEST:
            return None
        below, above = above, min(2 * above, _LONGEST)
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if count(middle) >= frames else (middle, above)
    return above
