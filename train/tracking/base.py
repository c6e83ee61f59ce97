"""What a tracker is given of a run, and what a tracker is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from emofuse.common.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """How the values of one training developed."""

    name: str
    """`fold_1`, with several seeds `seed_0/fold_1`."""
    points: Sequence[tuple[int, Mapping[str, float]]]
    """Step -> the values at that step, such as `train_loss` and `validation_ua`; in the order of the steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedRun:
    """What trackers write of a finished run."""

    name: str
    folder: Path
    digest: str
    """Of its metrics.json: a run with this digest need not be written twice."""
    protocol: str
    config: Mapping[str, str | int | float | bool]
    """Its settings, one level deep: `settings.lr` -> 0.001."""
    caveats: Sequence[str]
    """What a reader must know before believing the scores."""
    scores: Mapping[str, float]
    """Such as `pooled/ua`, its interval `pooled/ua_low` and `pooled/ua_high`, and `fold_1/ua`."""
    curves: Sequence[Curve]
    files: Sequence[Path]
    """report.html (where it was written), metrics.json and config.json."""

    @property
    def notes(self) -> str:
        """The caveats as a list, in Markdown."""
        return "\n".join(f"- {caveat}" for caveat in self.caveats) or "No caveats."

    def values(self) -> dict[str, Any]:
        """Everything but the curves, JSON-ready."""
        return {"config": dict(self.config), "scores": dict(self.scores), "caveats": list(self.caveats)}


class Tracker(ABC):
    """A tracker of experiments. Its package is imported by `write` alone."""

    name: ClassVar[str]
    """As in `--track`; also the name of the extra that installs it."""
    package: ClassVar[str]
    """The module that it needs."""

    def check(self) -> None:
        """Refuse a tracker whose package is not installed.

        Raises:
            UsageError: Names the extra.
        """
        spec = find_spec(self.package)
        if spec is None or spec.origin is None:  # a folder of that name, as wandb makes one, is no package
            raise UsageError(
                f"--track {self.name} needs the package {self.package}: pip install 'emofuse[{self.name}]'"
            )

    @abstractmethod
    def write(self, run: TrackedRun) -> str:
        """Write a run, once however often it is called; says where it is. May raise anything."""
