"""Errors of calibration by hand, and temperature scaling on probabilities of a known temperature."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from emofuse.manifests.metrics.calibration import calibration, fit_temperature, reliability, with_temperature

# Two utterances of confidence 0.9, one of them right, and two of confidence 0.6, both right.
PROBABILITIES = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
LABELS = np.array([0, 1, 0, 1])


def test_the_errors_by_hand() -> None:
    found = calibration(LABELS, PROBABILITIES)
    assert found["ece"] == pytest.approx((abs(0.9 - 0.5) + abs(0.6 - 1.0)) / 2)
    # Class 0: 0.9 (twice, once true), 0.6 (true), 0.4 (not); class 1 mirrors it.
    assert found["classwise_ece"] == pytest.approx((2 * 0.4 + 0.4 + 0.4) / 4)
    assert found["brier"] == pytest.approx(2 * (0.1**2 + 0.9**2 + 0.4**2 + 0.4**2) / 4)
    assert found["nll"] == pytest.approx(log_loss(LABELS, PROBABILITIES))
    assert [(b["n"], b["confidence"], b["accuracy"]) for b in found["reliability"]] == [
        (2, pytest.approx(0.6), 1.0),
        (2, pytest.approx(0.9), 0.5),
    ]


def test_a_bin_holds_its_upper_edge_and_certainty_is_in_the_last_one() -> None:
    found = reliability(np.array([0.0, 1 / 15, 1.0]), np.array([True, True, False]))
    assert [(b["from"], b["to"], b["n"]) for b in found] == [(0, 1 / 15, 2), (14 / 15, 1, 1)]


def test_a_certain_and_right_model_has_no_error() -> None:
    found = calibration(LABELS, np.eye(2)[LABELS])
    assert [found[name] for name in ("ece", "classwise_ece", "brier", "nll")] == [0, 0, 0, 0]


def test_a_temperature_on_probabilities_is_one_on_logits() -> None:
    logits = np.random.default_rng(0).normal(0, 5, (50, 4))
    scaled = with_temperature(softmax(logits, axis=1), 2.5)
    assert scaled == pytest.approx(softmax(logits / 2.5, axis=1))
    assert with_temperature(softmax(logits, axis=1), 1.0) == pytest.approx(softmax(logits, axis=1))


def test_probabilities_that_underflow_stay_finite() -> None:
    scaled = with_temperature(np.array([[1.0, 0.0]], np.float32), 20.0)
    assert np.isfinite(scaled).all()
    assert scaled.sum() == pytest.approx(1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_overconfident_logits_is_found(temperature: float) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (20000, 4))
    labels = (softmax(logits, axis=1).cumsum(1) > rng.random((20000, 1))).argmax(1)
    found = fit_temperature(labels, softmax(temperature * logits, axis=1))
    assert found == pytest.approx(temperature, rel=0.03)
    after = calibration(labels, with_temperature(softmax(temperature * logits, axis=1), found))
    assert after["ece"] < 0.02


def test_a_temperature_stays_within_its_limits_where_every_answer_is_right() -> None:
    assert fit_temperature(LABELS, np.eye(2)[LABELS] * 0.2 + 0.4) == pytest.approx(0.05, rel=1e-3)
