"""The rating files of the MSP corpora: `Evalution.txt` of MSP-IMPROV (so spelled), `labels.txt` of MSP-Podcast.

A line names a clip, its consensus and the mean scores; one line per rater follows:

    UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:2.800000; V:3.600000; D:3.000000; N:4.200000;
    20131113-p1; Neutral; Neutral,Concerned; A:3.000000; V:4.000000; D:3.000000; N:4.000000;
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from emofuse.common.errors import UsageError
from emofuse.datasets.reading.tables import text_lines

SCORES = {"A": "arousal", "V": "valence", "D": "dominance", "N": "naturalness"}
OTHER = "O"
_LABELS = {"ang": "A", "hap": "H", "sad": "S", "neu": "N", "sur": "U", "fea": "F", "dis": "D", "con": "C"}
_CLIP = re.compile(r"\s*((?:MSP|UTD)-[\w-]+)\.(?:avi|mp4|wav)\s*;\s*([A-Z])\s*;(.*)")
_SCORE = re.compile(r"\b([AVDN]):\s*(\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedClip:
    """A clip and what its raters said."""

    name: str
    """Its file name without suffix; `UTD-` (the video) reads `MSP-`."""
    label: str
    """The consensus, one letter; X where the raters did not agree."""
    scores: dict[str, float]
    """The means of arousal, valence, dominance and naturalness, as far as they are known."""
    votes: list[str] = field(default_factory=list)
    """The first label of each rater, one letter."""


def vote(word: str) -> str:
    """The letter of a rater's label; `O` for one of the rater's own words (`Other-Bored`)."""
    return _LABELS.get(word.strip().casefold()[:3], OTHER)


def rated_clips(path: Path) -> Iterator[RatedClip]:
    """The clips of a rating file, in its order.

    Raises:
        UsageError: The file names no clip.
    """
    current: RatedClip | None = None
    for line in text_lines(path):
        match = _CLIP.match(line)
        if match:
            if current:
                yield current
            scores = {SCORES[key]: float(value) for key, value in _SCORE.findall(match[3])}
            name = re.sub("^UTD-", "MSP-", match[1])
            current = RatedClip(name=name, label=match[2], scores=scores)
        elif current and line.count(";") >= 1:
            current.votes.append(vote(line.split(";")[1]))
    if current is None:
        raise UsageError(f"{path} names no clip; lines such as 'MSP-...wav; N; A:3.0; V:3.0; D:3.0;' are expected")
    yield current
