"""Everything that the page of a store is made from, and names that its sections share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emofuse.common.lazy import lazy_property
from emofuse.common.page import blocks
from emofuse.report.exploration.measure.collection import Collection, Entry
from emofuse.report.exploration.measure.copies import Copies
from emofuse.report.exploration.measure.pooled_features import Pooled
from emofuse.report.exploration.measure.probes import LinearProbe
from emofuse.report.exploration.measure.run_errors import RunErrors
from emofuse.report.exploration.measure.waveforms import MeasuredAudio
from emofuse.train.inspection.projection import Method
from emofuse.train.runs.recordings import recording_link

MOST_GROUPS = 20
"""Speakers, sessions or classes that a chart has rows for; the most frequent ones."""
OTHERS = "others"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedFeature:
    """A pooled feature and its probes."""

    pooled: Pooled
    probes: tuple[LinearProbe, ...]


@dataclass(frozen=True, kw_only=True)
class Material:
    """What was measured, and what the page may show."""

    collection: Collection
    features: tuple[ProbedFeature, ...]
    copies: Copies
    maps: tuple[Method, ...] = ("tsne",)
    """How the features are drawn."""
    audio: MeasuredAudio | None = None
    """None without an audio root."""
    audio_roots: Mapping[str, Path] = field(default_factory=dict)
    """Corpus -> the folder of its audio."""
    run: RunErrors | None = None
    with_text: bool = True
    page_folder: Path = Path()
    """Where the page will be, which links to audio are relative to."""

    @lazy_property
    def run_errors(self) -> dict[str, float]:
        """Id -> the share of the run's seeds that were wrong."""
        return self.run.by_id if self.run else {}

    def percent_wrong(self, entry: Entry) -> float | None:
        """How many percent of the run's seeds were wrong; None where it was not tested."""
        share = self.run_errors.get(entry.id)
        return None if share is None else 100 * share

    def player(self, entry: Entry) -> blocks.Sound | None:
        """What plays an utterance, if its audio was read."""
        u = entry.utterance
        if self.audio is None or u.audio is None or entry.id not in self.audio.by_id:
            return None
        url = recording_link(self.audio_roots[entry.corpus] / u.audio, self.page_folder, u)
        return None if url is None else blocks.Sound(href=url)


def slug(text: str) -> str:
    """A text as part of the name of a block: letters, digits and hyphens."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower() or "x"


def frequent(names: Sequence[str | None], most: int = MOST_GROUPS) -> list[str]:
    """The most frequent names, in the order of their names."""
    counts = Counter(name for name in names if name is not None)
    return sorted(sorted(counts, key=lambda name: (-counts[name], name))[:most])


def grouped(
    entries: Sequence[Entry], key: Callable[[Entry], str | None], value: Callable[[Entry], float | None],
    names: Sequence[str],
) -> dict[str, list[float]]:  # fmt: skip
    """Name -> the known values of its entries; names without any are left out."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for entry in entries:
        name, measured = key(entry), value(entry)
        if name in found and measured is not None:
            found[name].append(measured)
    return {name: values for name, values in found.items() if values}


def more_than_shown(names: Sequence[str | None], what: str, most: int = MOST_GROUPS) -> str:
    """A sentence on the names that a chart leaves out; empty if there are none."""
    count = len({name for name in names if name is not None})
    return f"The {most} most frequent of {count} {what}. " if count > most else ""
