"""What a user asks of `fit`, before anything is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from emofuse.common.location import Location

Precision = Literal["fp32", "tf32", "bf16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """One call of `fit`; what is none or empty is decided by the store, the protocol and the model's preset."""

    store: Location
    model: str
    more_stores: tuple[Location, ...] = ()
    """Those of further corpora that are trained on."""
    test_store: Location | None = None
    """That of a corpus that is only tested on."""
    protocol: str | None = None
    audio: str | None = None
    text: str | None = None
    ablation: str | None = None
    folds: str = "all"
    steps: int | None = None
    epochs: float | None = None
    settings: tuple[str, ...] = ()
    class_weights: Literal["none", "balanced"] = "none"
    seed: int = 0
    seeds: int = 1
    select: Literal["validation", "last"] = "validation"
    optimism: bool = False
    score_without: tuple[str, ...] = ()
    """Modalities: the test side is also scored with each of them absent."""
    allow_missing: int = 0
    limit: int | None = None
    """So many utterances at most, spread evenly over folds and classes."""
    device: str = "auto"
    precision: Precision = "fp32"
    """Of the products in training steps; with bf16 looks and test are computed in fp32."""
    out: Path | None = None
    runs: Path = Path("runs")
    """Where run folders lie that `out` does not name."""
    threads: int | None = None
    """Of each process."""
    jobs: int | None = 1
    """Processes that train folds; none: as many as pay. More than one start this program anew, so a script that asks
    for them has its own work under `if __name__ == "__main__"`."""
    scheduler: str | None = None
    """Address of a Dask scheduler whose workers train them instead."""
