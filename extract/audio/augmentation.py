"""Which changes an augmented copy of a clip gets: drawn from the seed, the copy's number and the utterance's id alone.

So the same utterance gets the same copy whatever its batch, thread, process or machine, and however often the work is
interrupted. A copy gets each requested transform with probability 0.5, and at least one, always in the order of
`TRANSFORMS`: what the speaker does, then the room, the surroundings and the recording level.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import xxhash

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.common.problems import Problems
from emofuse.extract.audio.resampling import resampled_length

VERSION = 1
"""Changes when equal settings give other samples."""
PROBABILITY = 0.5
_RANGE = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?)\.\.(-?[0-9]+(?:\.[0-9]+)?)")


@dataclass(frozen=True, slots=True)
class Transform:
    """A transform with one strength, which is drawn uniformly from a range."""

    strength: str
    """The strength and its unit."""
    low: float
    high: float
    """The usual range."""
    least: float
    most: float
    """What a range may contain."""


TRANSFORMS = {
    "speed": Transform("factor", 0.9, 1.1, 0.5, 2.0),
    "reverb": Transform("rt60_s", 0.1, 0.6, 0.02, 5.0),
    "noise": Transform("snr_db", 5.0, 30.0, -20.0, 80.0),
    "gain": Transform("db", -6.0, 6.0, -40.0, 40.0),
}
Ranges = tuple[tuple[str, float, float], ...]
"""(transform, lowest strength, highest strength) in the order of `TRANSFORMS`."""
SPEED_STEPS = 100
"""Speed is drawn in hundredths, so that a filter for the ratio of the two sampling rates stays short."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How the clips of one copy are changed."""

    ranges: Ranges
    seed: int
    copy: int
    """Number of the copy, from 1 on."""

    def uniform(self, id: str, what: str) -> float:
        """A number in [0, 1) that depends on the seed, the copy, the utterance and `what` alone."""
        return xxhash.xxh3_64_intdigest(self._key(id, what)) / 2**64

    def random_state(self, id: str, what: str) -> int:
        """A seed for noise, 0 to 2^32 - 1."""
        return xxhash.xxh3_64_intdigest(self._key(id, f"{what} values")) % 2**32

    def _key(self, id: str, what: str) -> bytes:
        return f"{self.seed}\0{self.copy}\0{id}\0{what}".encode()

    def strengths(self, id: str) -> dict[str, float]:
        """The transforms that an utterance gets, in order, and how strong each is."""
        names = [name for name, _, _ in self.ranges]
        chosen = {name for name in names if self.uniform(id, f"{name} applied") < PROBABILITY}
        chosen = chosen or {names[int(self.uniform(id, "the only one") * len(names))]}
        return {name: low + (high - low) * self.uniform(id, name) for name, low, high in self.ranges if name in chosen}

    def speed(self, id: str) -> int:
        """How fast an utterance is played, in hundredths."""
        return round(SPEED_STEPS * self.strengths(id).get("speed", 1.0))

    def length(self, id: str, samples: int) -> int:
        """Samples of an utterance's copy, from the `samples` of its clip."""
        return resampled_length(samples, self.speed(id), SPEED_STEPS)

    def identity(self) -> dict[str, Any]:
        """Everything that decides the copy's samples, for the fingerprint."""
        return {
            "version": VERSION,
            "seed": self.seed,
            "copy": self.copy,
            "transforms": {name: {TRANSFORMS[name].strength: [low, high]} for name, low, high in self.ranges},
            "probability": PROBABILITY,
            "audiomentations": version("audiomentations"),
        }

    @property
    def option(self) -> str:
        """The value of `--augment` that gives the same ranges."""
        return ",".join(f"{name}:{low:g}..{high:g}" for name, low, high in self.ranges)


def parse_augment(option: str) -> Ranges:
    """The transforms of `noise,speed` or `noise:10..20,speed:0.8..1.25`.

    Raises:
        UsageError: Names every unknown or repeated transform, and every range that is malformed or out of bounds.
    """
    problems, found = Problems(), dict[str, tuple[float, float]]()
    for item in option.split(","):
        name, colon, given = item.strip().partition(":")
        with problems.collecting():
            if name not in TRANSFORMS:
                raise UnknownNameError("transform of augment", name, TRANSFORMS)
            if name in found:
                raise UsageError(f"augment is {option!r}, which names {name} twice")
            found[name] = _range(name, given) if colon else (TRANSFORMS[name].low, TRANSFORMS[name].high)
    problems.raise_all()
    return tuple((name, *found[name]) for name in TRANSFORMS if name in found)


def _range(name: str, given: str) -> tuple[float, float]:
    transform, match = TRANSFORMS[name], _RANGE.fullmatch(given)
    low, high = (float(number) for number in match.groups()) if match else (1.0, 0.0)
    if not transform.least <= low <= high <= transform.most:
        raise UsageError(
            f"augment {name} has the range {given!r}, expected LOW..HIGH ({transform.strength}) within "
            f"{transform.least:g}..{transform.most:g}, such as {name}:{transform.low:g}..{transform.high:g}"
        )
    return low, high


def augmentations(option: str | None, copies: int, seed: int) -> list[Augmentation]:
    """One for each copy that `--augment` asks for; none without it.

    Raises:
        UsageError: As `parse_augment`, or audiomentations is not installed.
    """
    if option is None:
        return []
    ranges = parse_augment(option)
    if find_spec("audiomentations") is None:
        raise UsageError("augment needs the package audiomentations: pip install 'emofuse[augment]'")
    return [Augmentation(ranges, seed, number) for number in range(1, copies + 1)]
