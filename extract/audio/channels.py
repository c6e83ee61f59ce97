"""How channels become one, and where a recording has sound in each of these mixes."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Channel = Literal["mean", "left", "right", "loudest"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)
MIXES: dict[Channel, str] = {
    "mean": "mean of channels",
    "left": "the left channel",
    "right": "the right channel",
    "loudest": "the channel with the most energy",
}
"""What each choice is called in a fingerprint."""
BLOCK = 256
"""Samples of a block whose sound is looked for."""
QUIETEST = 2.0**-15
"""A block whose samples are all smaller, which is less than a step of 16-bit samples, has no sound."""
CANCELLED = 0.01
"""The channels of a block cancel each other if their mean is smaller than this part of the loudest one."""

Samples = NDArray[np.float32]
Activity = NDArray[np.bool_]
"""Whether each block [B, 4] has sound in each of `CHANNELS`."""


def mix(channels: Samples, channel: Channel) -> Samples:
    """One channel [N] of channels [C, N]; of a mono recording always its only one."""
    if channel == "mean" and len(channels) > 1:
        return _mean(channels)
    if len(channels) == 1:
        number = 0
    elif channel == "loudest":
        number = int(np.argmax([np.dot(c, c) for c in channels]))
    else:
        number = ("left", "right").index(channel)
    one: Samples = channels[number].copy()  # a view would keep the whole recording in memory
    return one


def _mean(channels: Samples) -> Samples:
    """The mean of channels; of two as numpy computes it, but faster than over a short axis."""
    mean: Samples
    if len(channels) == 2:
        mean = (channels[0] + channels[1]) / np.float32(2)
    else:
        mean = channels.mean(axis=0, dtype=np.float32)
    return mean


def activity(channels: Samples) -> Activity:
    """Where channels [C, N] have sound; the last block may be shorter than the others."""
    peaks = np.stack([_peaks(c) for c in channels])  # [C, B]
    audible = peaks >= QUIETEST
    anywhere: NDArray[np.bool_] = np.logical_or.reduce(audible, axis=0)
    if len(channels) == 1:
        return np.repeat(anywhere[:, None], len(CHANNELS), axis=1)
    mean = _peaks(_mean(channels))
    in_mean = (mean >= QUIETEST) & (mean >= CANCELLED * peaks.max(axis=0))
    return np.stack([in_mean, audible[0], audible[1], anywhere], axis=1)


def _peaks(samples: Samples) -> Samples:
    blocks = np.pad(samples, (0, -len(samples) % BLOCK)).reshape(-1, BLOCK)
    peaks: Samples = np.maximum(blocks.max(axis=1), -blocks.min(axis=1))
    return peaks


def silent_mixes(active: Activity, first: int, stop: int, samples: int) -> frozenset[Channel]:
    """The mixes in which a clip from sample `first` to `stop` has no sound, by the blocks that lie inside it."""
    begin, end = -(-first // BLOCK), len(active) if stop == samples else stop // BLOCK
    if begin >= end:
        return frozenset()
    sounds: NDArray[np.bool_] = np.logical_or.reduce(active[begin:end], axis=0)
    return frozenset(channel for channel, sound in zip(CHANNELS, sounds, strict=True) if not sound)
