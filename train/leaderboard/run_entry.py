"""One run as a leaderboard needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emofuse.train.runs.reporting.run_identity import feature_names


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEntry:
    """What metrics.json, config.json and a few other files of a run say."""

    folder: Path
    metrics: Mapping[str, Any]
    """The content of metrics.json, its types checked."""
    identity: Mapping[str, Any]
    """The settings, `run` in config.json."""
    test_set: str
    """A digest of the ids of the test utterances."""
    tested: int
    """How many test utterances there are."""
    folds: Mapping[int, Mapping[str, float | None]]
    """Number of a fold -> its test scores, the mean over seeds; empty where they are not recorded."""
    parameters: int | None
    started: str
    """When the last call began, in UTC as `2026-11-30T06:01:31Z`; empty if not recorded."""
    has_page: bool

    @property
    def model(self) -> str:
        """The model, with its ablation in brackets."""
        return str(self.metrics["model"])

    @property
    def features(self) -> str:
        """The features, such as `hubert + bert`."""
        return " + ".join(feature_names(self.identity).values())

    @property
    def is_sanity(self) -> bool:
        """Whether something was shuffled, so that the score is no result."""
        return "shuffled" in self.metrics

    def score(self, metric: str) -> float | None:
        """A score of all test predictions together, with several seeds the mean."""
        value: float | None = self.metrics["pooled"].get(metric)
        return value

    def interval(self, metric: str) -> tuple[float, float] | None:
        """The interval of a score, if there is one."""
        match self.metrics.get("interval", {}).get(metric):
            case [int() | float() as low, int() | float() as high]:
                return float(low), float(high)
        return None

    @property
    def seeds(self) -> int:
        """How many seeds were trained."""
        return len(self.metrics.get("seeds", [0]))
