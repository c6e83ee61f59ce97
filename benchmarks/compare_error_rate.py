"""How often `emofuse compare` calls two equally good models different: simulated test sides, correlated in speakers.

    PYTHONPATH=.dev python benchmarks/compare_error_rate.py --simulations 2000

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

from emofuse.common.console import format_table
from emofuse.common.progress import Progress
from emofuse.manifests.resampling import ResamplingUnits, named_units
from emofuse.train.comparison.paired_scores import PairedPredictions, unit_differences
from emofuse.train.comparison.paired_tests import (
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
TESTS = {
    "permutation by speaker": "decides in `compare`",
    "interval by speaker": "95 % interval without 0",
    "corrected t over folds": "a fold for each speaker",
    "permutation by utterance": "",
    "interval by utterance": "",
    "McNemar": "",
}


def simulated(
    speakers: int, utterances: int, generator: np.random.Generator, difference: float = 0.0, sessions: int = 0
) -> tuple[PairedPredictions, NDArray[np.int64]]:
    """Predictions of two models, and the speaker [n] of each utterance.

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
    return PairedPredictions(labels=labels, first=predicted[0], second=predicted[1], classes=CLASSES), units


def called_different(
    pair: PairedPredictions, speakers: ResamplingUnits, permutations: int, resamples: int, seed: int
) -> dict[str, bool]:
    """Which tests call the two models different in UA (McNemar: in accuracy)."""
    generator, units = np.random.default_rng(seed), speakers.outer
    by_utterance = named_units(range(len(units)), "utterance")
    intervals = {
        kind: paired_intervals(pair, u.smallest, u.unit_weights(resamples, generator))["ua"]
        for kind, u in (("speaker", speakers), ("utterance", by_utterance))
    }
    folds = corrected_t(unit_differences(pair, units)["ua"], 1 / max(1, speakers.count - 2))
    test = mcnemar(pair.first[0] == pair.labels, pair.second[0] == pair.labels)
    return {
        "permutation by speaker": permutation_test(pair, units, permutations, seed).p["ua"] < ALPHA,
        "permutation by utterance": permutation_test(pair, by_utterance.outer, permutations, seed).p["ua"] < ALPHA,
        "corrected t over folds": folds is not None and folds.p < ALPHA,
        "McNemar": test.p < ALPHA,
        **{f"interval by {kind}": not low <= 0 <= high for kind, (low, high) in intervals.items()},
    }


def rates(
    speakers: int, utterances: int, simulations: int, permutations: int = 999, resamples: int = 1000, sessions: int = 0
) -> dict[str, float]:
    """Test -> how often it calls equally good models different; and `power` of the permutation test by speaker."""
    found: Counter[str] = Counter()
    for number in range(simulations):
        generator = np.random.default_rng([number, speakers, utterances])
        pair, units = simulated(speakers, utterances, generator, sessions=sessions)
        called = called_different(pair, named_units(units.tolist(), "speaker"), permutations, resamples, number)
        found.update(name for name, yes in called.items() if yes)
        other, units = simulated(speakers, utterances, generator, TRUE_DIFFERENCE, sessions)
        found["power"] += permutation_test(other, units, permutations, number).p["ua"] < ALPHA
    return {name: found[name] / simulations for name in (*TESTS, "power")}


def table(results: Mapping[str, Mapping[str, float]], simulations: int) -> str:
    """The rates in percent, one row for each case."""
    error = 100 * np.sqrt(ALPHA * (1 - ALPHA) / simulations)
    rows = [[case, *(f"{100 * rate:.1f}" for rate in found.values())] for case, found in results.items()]
    head = ["called different, %", *TESTS, "power"]
    return format_table(head, rows) + f"\n{simulations} simulations each; at 5 % the standard error is {error:.1f} %."


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--simulations", type=int, default=2000)
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
