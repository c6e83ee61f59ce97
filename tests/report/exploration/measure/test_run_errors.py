"""Errors of a run: correlations against hand-made numbers and scipy, and predictions combined by speaker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
from scipy.stats import pearsonr, pointbiserialr, rankdata, spearmanr

from emofuse.manifests.schema import Utterance
from emofuse.report.exploration.measure.collection import Entry
from emofuse.report.exploration.measure.run_errors import RunErrors, correlations, speaker_rows
from emofuse.report.exploration.measure.waveforms import ClipMeasures
from emofuse.train.comparison.inputs.run_predictions import RunPredictions
from emofuse.train.comparison.statistics.paired_tests import holm
from emofuse.train.runs.finished_run import Run

N = 24
LABELS = [i % 2 for i in range(N)]
SNR = [float((7 * i) % N) for i in range(N)]
"""A permutation of 0 to 23."""


def run_errors(wrong: Sequence[Sequence[bool]], seconds: Sequence[float], probabilities: Any = None) -> RunErrors:
    """A run whose seeds are wrong as given, on utterances of these lengths, of the speakers `a` and `b`."""
    ids = [f"u{i:02}" for i in range(N)]
    labels = np.array(LABELS, np.int64)
    predicted = RunPredictions(
        run=cast(Run, None), classes=("angry", "sad"), seeds=tuple(range(len(wrong))), ids=tuple(ids), labels=labels,
        predictions=np.stack([np.where(row, 1 - labels, labels) for row in wrong]), folds=np.ones(N, np.int64),
    )  # fmt: skip
    entries = [
        Entry(id=id, corpus="tiny", utterance=Utterance(id=id, seconds=s), label=None, speaker="ab"[i // (N // 2)],
              session=None, gender=None, sentence=None)
        for i, (id, s) in enumerate(zip(ids, seconds, strict=True))
    ]  # fmt: skip
    return RunErrors(predicted=predicted, entries=tuple(entries), columns=np.arange(N), probabilities=probabilities)


def clips(run: RunErrors, **values: Sequence[float | None]) -> dict[str, ClipMeasures]:
    """Id -> measures that are all equal but for those given."""
    plain: dict[str, Any] = {"snr": 20.0, "clipped": 0.0, "peak": -1.0, "level": -20.0, "offset": 0.0, "silence": 0.1}
    return {
        e.id: ClipMeasures(**{**plain, **{name: of[i] for name, of in values.items()}}, sampling_rate=16000)
        for i, e in enumerate(run.entries)
    }


def test_noise_clipping_and_length_against_errors() -> None:
    wrong = [[snr < 8 for snr in SNR]]  # errors where it is noisy
    run = run_errors(wrong, seconds=[1.0 + i for i in range(N)])
    clipped = [0.25 if snr < 4 else 0.0 for snr in SNR]
    found = {row.name: row for row in correlations(run, clips(run, snr=SNR, clipped=clipped))}
    assert list(found) == ["seconds", "SNR", "clipped share"], "what does not vary is left out"
    errors = np.array(wrong[0], float)
    # By hand: the 8 noisy clips have ranks 1 to 8 (mean 4.5), the others 9 to 24 (mean 16.5), the deviation of ranks is
    # sqrt((24^2 - 1) / 12); with two groups, r = (4.5 - 16.5) / deviation * sqrt(8 / 24 * 16 / 24).
    by_hand = (4.5 - 16.5) / np.sqrt((24**2 - 1) / 12) * np.sqrt(8 * 16) / 24
    assert found["SNR"].rho == pytest.approx(by_hand)
    assert found["SNR"].rho == pytest.approx(pointbiserialr(errors, SNR).statistic), "ranks of a permutation are itself"
    # By hand: 4 of 8 wrong and 0 of 16 right clips are clipped: phi = (4 * 16 - 4 * 0) / sqrt(8 * 16 * 4 * 20).
    assert found["clipped share"].rho == pytest.approx(64 / np.sqrt(8 * 16 * 4 * 20))
    raw = [spearmanr(values, errors) for values in (range(N), SNR, clipped)]
    assert [row.rho for row in found.values()] == pytest.approx([r.statistic for r in raw])
    assert [row.p for row in found.values()] == pytest.approx(holm([r.pvalue for r in raw]))
    assert {row.n for row in found.values()} == {N}


def test_shares_of_seeds_and_within_classes() -> None:
    wrong = [[snr < 8 for snr in SNR], [snr < 12 or label == 1 for snr, label in zip(SNR, LABELS, strict=True)]]
    run = run_errors(wrong, seconds=[1.0] * N)
    (row,) = correlations(run, clips(run, snr=SNR))
    assert set(run.errors.tolist()) == {0.0, 0.5, 1.0}
    assert row.rho == pytest.approx(spearmanr(SNR, run.errors).statistic)
    ranks = [rankdata(SNR), rankdata(run.errors)]
    centred = [r - np.where(np.array(LABELS) == 1, r[1::2].mean(), r[::2].mean()) for r in ranks]
    assert row.within == pytest.approx(pearsonr(*centred).statistic)


def test_a_measure_that_goes_with_the_class_alone_says_nothing_within_classes() -> None:
    run = run_errors([[label == 1 for label in LABELS]], seconds=[1.0 + label for label in LABELS])
    (row,) = correlations(run, {})
    assert (row.name, row.rho, row.within) == ("seconds", pytest.approx(1.0), None)


def test_unknown_measures_and_runs_without_errors_have_no_correlation() -> None:
    run = run_errors([[i < 4 for i in range(N)]], seconds=[float(i) for i in range(N)])
    few = [20.0 + i if i < 19 else None for i in range(N)]
    assert [row.name for row in correlations(run, clips(run, snr=few))] == ["seconds"], "19 known values are too few"
    known = [20.0 + i if i < 20 else None for i in range(N)]
    assert [(row.name, row.n) for row in correlations(run, clips(run, snr=known))] == [("seconds", 24), ("SNR", 20)]
    right = run_errors([[False] * N], seconds=[float(i) for i in range(N)])
    assert correlations(right, {}) == []


def test_predictions_combined_by_speaker() -> None:
    wrong = [[i in (0, 1) for i in range(N)]]  # of speaker a, one of six in each class
    probabilities = np.full((N, 2), 0.5)
    for i, label in enumerate(LABELS):
        probabilities[i, label] = 0.9 if not wrong[0][i] else 0.2
        probabilities[i, 1 - label] = 1 - probabilities[i, label]
    probabilities[12:, 0], probabilities[12:, 1] = 0.6, 0.4  # speaker b always sounds like the first class
    run = run_errors(wrong, seconds=[1.0] * N, probabilities=probabilities)
    a, b = speaker_rows(run)
    assert (a["speaker"], a["n"], a["ua"]) == ("a", 12, pytest.approx(5 / 6))
    assert a["combined"] == {"angry": "angry", "sad": "sad"}
    assert b["combined"] == {"angry": "angry", "sad": "angry"}
