"""Bootstrap intervals of the scores that a kind of target has beside those of a class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emofuse.manifests.metrics.resampling import ResamplingUnits
from emofuse.manifests.metrics.scores import LEVEL, RESAMPLES
from emofuse.manifests.targets.scoring import LabelSets, extra_scores, statistics, sums_by_unit
from emofuse.manifests.targets.target import Target, Truth, Values


def kind_intervals(
    target: Target, seeds: Sequence[tuple[Truth, Values, LabelSets | None]], units: ResamplingUnits, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals, as `metrics.intervals`; empty for the kind `classes`.

    Args:
        target: What is predicted.
        seeds: Of each seed the arguments of `statistics`; the scores of seeds are averaged in each resample.
        units: What is drawn, for the n utterances.
        seed: Seed of the draws.
    """
    if target.kind == "classes":
        return {}
    drawn, count = units.smallest, int(units.smallest.max()) + 1
    sums = [sums_by_unit(statistics(target, *values), drawn, count) for values in seeds]
    resampled: list[dict[str, NDArray[np.float64]]] = []
    for weights in units.weight_blocks(RESAMPLES, np.random.default_rng(seed)):
        of_seeds = [extra_scores(target, weights.astype(np.float64) @ of_seed) for of_seed in sums]
        resampled.append({name: np.mean([s[name] for s in of_seeds], axis=0) for name in of_seeds[0]})
    edges = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    bounds = {name: np.quantile(np.concatenate([b[name] for b in resampled]), edges) for name in resampled[0]}
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}
