"""WADA-SNR: its curve against closed forms and published values, and mixtures of known SNR."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import digamma

from emofuse.report.exploration.measure.signal_to_noise import HIGHEST, SHAPE, expected_statistic, wada_snr


def test_curve_between_gaussian_noise_and_clean_speech() -> None:
    decibels, curve = expected_statistic()
    gaussian = np.log(np.sqrt(2 / np.pi)) + (np.euler_gamma + np.log(2)) / 2
    assert curve[0] == pytest.approx(gaussian, abs=1e-3)
    assert curve[-1] == pytest.approx(np.log(SHAPE) - digamma(SHAPE), abs=0.05)
    assert (np.diff(curve) >= 0).all()
    # Kim and Stern's table, as their code has it.
    assert np.interp([-1.0, -6.0], decibels, curve) == pytest.approx([0.451614855, 0.420772515], abs=0.003)


@pytest.mark.parametrize("decibels", [0.0, 10.0, 25.0])
def test_mixture_of_known_ratio(decibels: float) -> None:
    rng = np.random.default_rng(0)
    speech = rng.gamma(SHAPE, 1, 80_000) * rng.choice([-1, 1], 80_000)
    noise = rng.standard_normal(80_000) * np.sqrt((speech**2).mean() / 10 ** (decibels / 10))
    assert wada_snr(0.01 * (speech + noise) + 0.001) == pytest.approx(decibels, abs=1.5)


def test_silence_has_no_ratio_and_digital_silence_does_not_count() -> None:
    assert wada_snr(np.zeros(1000, np.float32)) is None
    assert wada_snr(np.full(1000, 0.1, np.float32)) is None
    noise = 0.1 * np.random.default_rng(0).standard_normal(20_000)
    assert wada_snr(np.concatenate([np.zeros(50_000), noise])) == wada_snr(noise)
    assert wada_snr(noise) < 0 < HIGHEST  # type: ignore[operator]
