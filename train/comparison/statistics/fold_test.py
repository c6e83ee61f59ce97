"""The corrected resampled t test of two runs over their folds and seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emofuse.train.comparison.inputs.run_predictions import RunPredictions
from emofuse.train.comparison.statistics.paired_scores import PairedPredictions, unit_differences
from emofuse.train.comparison.statistics.paired_tests import CorrectedT, corrected_t


def corrected_t_over_folds(
    pair: PairedPredictions, first: RunPredictions, second: RunPredictions
) -> dict[str, CorrectedT]:
    """Metric -> the test over folds and seeds, or over folds alone where the runs have different numbers of seeds.

    Empty for a single fold, whose training sides are not resampled, and for runs that trained nothing.
    """
    ratio = ratio_of_sizes([first, second])
    if ratio is None:
        return {}
    _, folds = np.unique(first.folds, return_inverse=True)
    if len(pair.first) == len(pair.second):
        seeds = [PairedPredictions(first=[a], second=[b]) for a, b in pair.seed_pairs()]
    else:
        seeds = [pair]
    of_seeds = [unit_differences(seed, folds) for seed in seeds]
    tests = {name: corrected_t(np.concatenate([d[name] for d in of_seeds]), ratio) for name in of_seeds[0]}
    return {name: test for name, test in tests.items() if test is not None}


def ratio_of_sizes(runs: Sequence[RunPredictions]) -> float | None:
    """n_test / n_train over all folds, the largest of the runs; None for a single fold or where nothing was trained."""
    ratios = []
    for run in runs:
        sizes = list(run.sizes().values())
        if len(sizes) < 2:
            return None
        ratios.append(sum(test for test, _ in sizes) / sum(train for _, train in sizes))
    return max(ratios)
