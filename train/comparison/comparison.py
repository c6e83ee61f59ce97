"""The comparison of finished runs: every pair, or each run with a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from emofuse.common.errors import UnknownNameError
from emofuse.common.output.console import plural
from emofuse.common.problems import Problems
from emofuse.manifests.metrics.resampling import ResamplingUnits
from emofuse.manifests.metrics.scores import RESAMPLES
from emofuse.manifests.targets.scoring import comparable_metrics
from emofuse.train.comparison.inputs.matching import refuse_incomparable
from emofuse.train.comparison.inputs.missing_predictions import with_missing_as_wrong
from emofuse.train.comparison.inputs.run_names import run_names
from emofuse.train.comparison.inputs.run_predictions import RunPredictions, read_predictions
from emofuse.train.comparison.inputs.run_settings import settings_of
from emofuse.train.comparison.statistics.comparison_units import Unit, units_of
from emofuse.train.comparison.statistics.fold_test import corrected_t_over_folds, ratio_of_sizes
from emofuse.train.comparison.statistics.paired_scores import PairedPredictions, differences, scores_of_run
from emofuse.train.comparison.statistics.paired_tests import (
    PERMUTATIONS,
    CorrectedT,
    McNemarTest,
    cohens_d,
    holm,
    mcnemar_over_seeds,
    paired_intervals,
    permutation_test,
)
from emofuse.train.runs.reporting.caveats import caveats


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """One of the compared runs."""

    name: str
    folder: Path
    seeds: tuple[int, ...]
    scores: Mapping[str, float]
    """Metric -> the score of all test predictions pooled, mean over seeds."""
    caveats: tuple[str, ...]
    settings: Mapping[str, str]
    """What it was made with, name -> value: model, features, options, seeds, protocol, stores, versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A pair's difference in one metric, first minus second, in 0..1."""

    value: float
    interval: tuple[float, float]
    """95 %, paired bootstrap."""
    p: float
    """Permutation test, two-sided."""
    corrected_p: float
    """Holm's correction over the pairs; this one decides."""
    effect: float | None
    """Cohen's d of the differences of the units."""
    t: CorrectedT | None
    """Over folds and seeds; None for a single fold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairComparison:
    """What was found for one pair of runs, by their names."""

    first: str
    second: str
    differences: Mapping[str, Difference]
    mcnemar: McNemarTest | None
    """None where there is not one class an utterance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Finished runs compared on the test utterances that they share."""

    protocol: str
    utterances: int
    metrics: tuple[str, ...]
    units: ResamplingUnits
    exact: bool
    """Whether the permutation test enumerated all exchanges."""
    permutations: int
    resamples: int
    smallest_p: float
    """The smallest corrected p that the number of units and pairs allows."""
    ratio: float | None
    """n_test / n_train of the folds; None for a single fold or where nothing was trained."""
    runs: tuple[ComparedRun, ...]
    pairs: tuple[PairComparison, ...]
    notes: tuple[str, ...]


def compare_runs(
    folders: Sequence[Path],
    *,
    metrics: Sequence[str] = (),
    permutations: int = PERMUTATIONS,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare every pair of finished runs.

    Raises:
        UsageError: Runs that are not finished or not comparable; names what differs, of all of them.
        DataError: A run is damaged.
    """
    return compare_predictions(open_runs(folders), metrics=metrics, permutations=permutations, resamples=resamples)


def open_runs(folders: Sequence[Path], *, missing_as_wrong: bool = False) -> list[RunPredictions]:
    """Read the predictions of finished runs that can be compared.

    Raises:
        UsageError, DataError: As `compare_runs`.
    """
    problems, runs = Problems(), []
    for folder in folders:
        with problems.collecting():
            runs.append(read_predictions(folder))
    problems.raise_all()
    runs = with_missing_as_wrong(runs) if missing_as_wrong else runs
    refuse_incomparable(runs)
    return runs


def compare_predictions(
    runs: Sequence[RunPredictions],
    *,
    baseline: Path | None = None,
    metrics: Sequence[str] = (),
    unit: Unit = "auto",
    permutations: int = PERMUTATIONS,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare the runs of `open_runs`, every pair or each with the baseline, which is the folder of one of them.

    Raises:
        UsageError: The unit is not known of every utterance.
    """
    names = run_names([run.run for run in runs])
    units, notes = units_of(runs, unit)
    chosen = _metrics(runs[0], metrics)
    tests = _PairTests(units, chosen, permutations, resamples)
    numbers = _pairs([run.run.folder for run in runs], baseline)
    pairs = [tests.compare(runs[i], runs[j], names[i], names[j]) for i, j in numbers]
    return Comparison(
        protocol=str(runs[0].run.metrics["protocol"]),
        utterances=len(runs[0].ids),
        metrics=chosen,
        units=units,
        exact=tests.exact,
        permutations=permutations,
        resamples=resamples,
        smallest_p=min(1.0, tests.smallest_p * len(pairs)),
        ratio=ratio_of_sizes(runs),
        runs=tuple(_compared(run, name) for run, name in zip(runs, names, strict=True)),
        pairs=tuple(_corrected(pairs)),
        notes=tuple(notes),
    )


def _metrics(run: RunPredictions, asked: Sequence[str]) -> tuple[str, ...]:
    """The metrics that are compared: those of the call; else the protocol's, then WA, UA and W-F1 of a class.

    Not those that a run prints: which metric decides must not depend on what was chosen after its scores were seen.

    Raises:
        UsageError: A metric of the call that cannot be compared.
    """
    valid = comparable_metrics(run.target)
    problems = Problems()
    for name in asked:
        if name not in valid:
            with problems.collecting():
                raise UnknownNameError("metric that can be compared", name, valid)
    problems.raise_all()
    usual = ("ua", "wa", "wf1") if run.target.has_class else ()
    return tuple(asked) or tuple(dict.fromkeys(m for m in (*run.protocol["metrics"], *usual) if m in valid))


def _pairs(folders: Sequence[Path], baseline: Path | None) -> list[tuple[int, int]]:
    if baseline is None:
        return list(combinations(range(len(folders)), 2))
    last = [folder.resolve() for folder in folders].index(baseline.resolve())
    return [(i, last) for i in range(len(folders)) if i != last]


def _compared(run: RunPredictions, name: str) -> ComparedRun:
    missing = f"{plural(run.missing, 'utterance')} without a feature, counted as wrong (--missing-as-wrong)"
    return ComparedRun(
        name=name,
        folder=run.run.folder,
        seeds=run.seeds,
        scores=scores_of_run(run.by_seed()),
        caveats=(*([missing] if run.missing else []), *caveats(run.run.metrics)),
        settings=settings_of(run),
    )


class _PairTests:
    """The tests of a pair, with the same resamples for all pairs."""

    def __init__(self, units: ResamplingUnits, metrics: Sequence[str], permutations: int, resamples: int) -> None:
        self._units, self._metrics, self._permutations = units, metrics, permutations
        self._weights = units.unit_weights(resamples, np.random.default_rng(0))
        self.exact, self.smallest_p = True, 1.0

    def compare(self, first: RunPredictions, second: RunPredictions, name: str, other: str) -> PairComparison:
        """All tests of one pair; its p values are not corrected yet."""
        pair = PairedPredictions(first=first.by_seed(), second=second.by_seed())
        test = permutation_test(pair, self._units.outer, self._permutations)
        self.exact, self.smallest_p = test.exact, test.smallest
        values, effects = differences(pair), cohens_d(pair, self._units.outer)
        intervals = paired_intervals(pair, self._units.smallest, self._weights)
        over_folds = corrected_t_over_folds(pair, first, second)
        found = {
            metric: Difference(
                value=values[metric],
                interval=intervals[metric],
                p=test.p[metric],
                corrected_p=test.p[metric],
                effect=effects[metric],
                t=over_folds.get(metric),
            )
            for metric in self._metrics
        }
        return PairComparison(first=name, second=other, differences=found, mcnemar=mcnemar_over_seeds(pair))


def _corrected(pairs: Sequence[PairComparison]) -> list[PairComparison]:
    """The pairs with Holm's correction over them, each metric apart."""
    corrected = {m: holm([pair.differences[m].p for pair in pairs]) for m in pairs[0].differences}
    return [
        replace(pair, differences={m: replace(d, corrected_p=corrected[m][i]) for m, d in pair.differences.items()})
        for i, pair in enumerate(pairs)
    ]
