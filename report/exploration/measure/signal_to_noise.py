"""WADA-SNR: the signal-to-noise ratio of speech from the distribution of its amplitudes alone (Kim and Stern 2008).

Kim and Stern, "Robust signal-to-noise ratio estimation based on waveform amplitude distribution analysis",
Interspeech 2008. It takes amplitudes of clean speech for a Gamma distribution of shape 0.4 and noise for Gaussian; then
the statistic log E|x| - E log|x| rises with the SNR, and is inverted here. It is an estimate: over about 40 dB it says
little, music, babble, codecs and gating break its assumptions, and short clips or clips without pauses are off by
several dB.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHAPE = 0.4
"""Of the Gamma distribution of clean speech."""
LOWEST, HIGHEST = -20.0, 100.0
"""dB; estimates beyond are given as these."""
_NODES, _STEPS = 4_000, 50_000
"""Quantiles of the amplitudes of speech, and steps of an integral."""

Array = NDArray[np.float64]


def wada_snr(waveform: NDArray[Any]) -> float | None:
    """The estimated SNR in dB of a waveform [N], between `LOWEST` and `HIGHEST`; None if it is silent.

    Samples of exactly 0 (digital silence) are left out, and a constant offset is removed.
    """
    samples = waveform[waveform != 0].astype(np.float64)
    if len(samples) < 2:
        return None
    magnitudes = np.abs(samples - samples.mean())
    mean = float(magnitudes.mean())
    if mean == 0:
        return None
    statistic = np.log(mean) - float(np.log(np.maximum(magnitudes, 1e-10)).mean())
    decibels, curve = expected_statistic()
    return float(np.interp(statistic, curve, decibels))


@cache
def expected_statistic() -> tuple[Array, Array]:
    """SNR in dB [n], ascending, and log E|x| - E log|x| of the model at each, ascending."""
    from scipy.special import dawsn, erf
    from scipy.stats import gamma

    speech = gamma.ppf((np.arange(_NODES) + 0.5) / _NODES, SHAPE)
    power = SHAPE * (SHAPE + 1)
    # E log|m + n| of a standard normal n grows with m by sqrt(2) Dawson(m / sqrt(2)), from -(Euler + log 2) / 2.
    grid = np.linspace(0, np.log1p(1e7), _STEPS)
    m = np.expm1(grid)
    slope = np.sqrt(2) * dawsn(m / np.sqrt(2))
    logs = np.concatenate([[0.0], np.cumsum((slope[1:] + slope[:-1]) / 2 * np.diff(m))])
    logs -= (np.euler_gamma + np.log(2)) / 2
    decibels = np.arange(LOWEST, HIGHEST + 1)
    curve = []
    for level in decibels:
        deviation = np.sqrt(power / 10 ** (level / 10))
        ratio = speech / deviation
        means = deviation * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2) + speech * erf(ratio / np.sqrt(2))
        mean_log = np.log(deviation) + np.interp(np.log1p(ratio), grid, logs)
        curve.append(np.log(means.mean()) - mean_log.mean())
    return decibels, np.maximum.accumulate(np.array(curve))
