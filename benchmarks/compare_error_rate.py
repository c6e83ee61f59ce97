"""How often `emofuse compare` calls two equally good models different: simulated test sides, correlated in speakers.

    PYTHONPATH=.dev python benchmarks/compare_error_rate.py --simulations 1000

Two models have the same expected accuracy. Speakers differ in how well both models do (`SHARED`) and in how much better
one of them does (`OWN`, symmetric around 0), and each utterance is hard or easy for both. Each test is applied as
`compare` applies it; a valid one calls at most 5 % different, up to the error of the simulation. The last column is how
often the permutation test by speaker finds a true difference of some 10 points.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from emofuse.common.output.console import format_table
from emofuse.common.output.progress import Progress
from emofuse.manifests.metrics.resampling import named_units
from emofuse.train.comparison.statistics.paired_scores import PairedPredictions, unit_differences
from emofuse.train.comparison.statistics.paired_tests import (
    ALPHA,
    corrected_t,
    mcnemar,
    paired_intervals,
    permutation_test,
)

CLASSES = 4
SHARED, OWN, UTTERANCE = 0.6, 0.6, 1.0
"""Standard deviations, in logits, of a speaker's effect on both models, on their difference, and of an utterance's."""
TRUE_DIFFERENCE = 0.6
"""In logits, of the column that shows power: about 10 points."""
CASES = {"5 speakers": (5, 34), "10 speakers": (10, 34), "24 speakers": (24, 60)}
"""Speakers and utterances of each: Emo-DB's subset, Emo-DB and RAVDESS."""
TESTS = (
    "permutation by speaker",
    "interval by speaker",
    "corrected t over folds",
    "permutation by utterance",
    "interval by utterance",
    "McNemar",
)
"""An interval calls two models different if it is without 0; there is a fold for each speaker."""


def simulated(
    speakers: int, utterances: int, generator: np.random.Generator, difference: float = 0.0, sessions: int = 0
) -> PairedPredictions:
    """Predictions of two models, speaker after speaker.

    Args:
        speakers: How many.
        utterances: Of each speaker.
        generator: Of all random numbers.
        difference: The first model's advantage in logits.
        sessions: If given, the difference's effects are those of so many sessions instead of the speakers.
    """
    n, units = speakers * utterances, np.repeat(np.arange(speakers), utterances)
    labels = generator.integers(CLASSES, size=n)
    shared = generator.normal(0, SHARED, speakers)[units] + generator.normal(0, UTTERANCE, n)
    groups = units % sessions if sessions else units
    own = generator.normal(0, OWN, int(groups.max()) + 1)[groups] + difference
    predicted = []
    for sign in (0.5, -0.5):
        right = generator.random(n) < 1 / (1 + np.exp(-(0.8 + shared + sign * own)))
        wrong = (labels + generator.integers(1, CLASSES, size=n)) % CLASSES
        predicted.append(np.where(right, labels, wrong)[None])
    return PairedPredictions(labels=labels, first=predicted[0], second=predicted[1], classes=CLASSES)


class Tests:
    """The tests of one case; all its simulations share the resamples."""

    def __init__(self, units: NDArray[np.int64], permutations: int, resamples: int) -> None:
        self.speakers, self.permutations = named_units(units.tolist(), "speaker"), permutations
        self.utterances = named_units(range(len(units)), "utterance")
        generator = np.random.default_rng(0)
        self.weights = {
            kind: (of.smallest, of.unit_weights(resamples, generator))
            for kind, of in (("speaker", self.speakers), ("utterance", self.utterances))
        }

    def called_different(self, pair: PairedPredictions, seed: int) -> dict[str, bool]:
        """Which tests call the two models different in UA (McNemar: in accuracy)."""
        intervals = {kind: paired_intervals(pair, *weights)["ua"] for kind, weights in self.weights.items()}
        folds = corrected_t(unit_differences(pair, self.speakers.outer)["ua"], 1 / max(1, self.speakers.count - 2))
        permuted = permutation_test(pair, self.utterances.outer, self.permutations, seed)
        return {
            "permutation by speaker": self.by_speaker(pair, seed),
            "permutation by utterance": permuted.p["ua"] < ALPHA,
            "corrected t over folds": folds is not None and folds.p < ALPHA,
            "McNemar": mcnemar(pair.first[0] == pair.labels, pair.second[0] == pair.labels).p < ALPHA,
            **{f"interval by {kind}": not low <= 0 <= high for kind, (low, high) in intervals.items()},
        }

    def by_speaker(self, pair: PairedPredictions, seed: int) -> bool:
        """Whether the test that decides in `compare` calls the two models different."""
        return permutation_test(pair, self.speakers.outer, self.permutations, seed).p["ua"] < ALPHA


def rates(
    speakers: int, utterances: int, simulations: int, permutations: int = 999, resamples: int = 1000, sessions: int = 0
) -> dict[str, float]:
    """Test -> how often it calls equally good models different; and `power` of the permutation test by speaker."""
    tests = Tests(np.repeat(np.arange(speakers), utterances), permutations, resamples)
    found: Counter[str] = Counter()
    for number in range(simulations):
        generator = np.random.default_rng([number, speakers, utterances])
        pair = simulated(speakers, utterances, generator, sessions=sessions)
        found.update(name for name, yes in tests.called_different(pair, number).items() if yes)
        better = simulated(speakers, utterances, generator, TRUE_DIFFERENCE, sessions)
        found["power"] += tests.by_speaker(better, number)
    return {name: found[name] / simulations for name in (*TESTS, "power")}


def table(results: Mapping[str, Mapping[str, float]], simulations: int) -> str:
    """The rates in percent, one row for each case."""
    error = 100 * np.sqrt(ALPHA * (1 - ALPHA) / simulations)
    rows = [[case, *(f"{100 * rate:.1f}" for rate in found.values())] for case, found in results.items()]
    head = ["called different, %", *TESTS, "power"]
    return format_table(head, rows) + f"\n{simulations} simulations each; at 5 % the standard error is {error:.1f} %."


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--simulations", type=int, default=1000)
    simulations = parser.parse_args().simulations
    results = {}
    with Progress(len(CASES) + 1, "simulate", "cases") as progress:
        for case, (speakers, utterances) in CASES.items():
            results[case] = rates(speakers, utterances, simulations)
            progress.advance(1, case)
        results["10 speakers, effects of 5 sessions"] = rates(10, 34, simulations, sessions=5)
        progress.advance(1)
    print(table(results, simulations))


if __name__ == "__main__":
    main()
