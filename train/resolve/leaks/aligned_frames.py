"""How similar two sequences of frames are when one is moved along the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

OVERLAP = 0.8
"""The share of the shorter sequence that must lie on the longer one."""
STEP = 3
"""Over how many half frames a change is taken."""

Array = NDArray[np.float32]


def changes(frames: NDArray[Any]) -> Array:
    """How the frames [t, d] change over time, every half frame: [2 t - 1 - STEP, d].

    Frames are smoothed with weights 1, 2, 1 and interpolated, so that a shift by part of a frame changes little.
    """
    padded = np.pad(frames.astype(np.float32), ((1, 1), (0, 0)), mode="edge")
    smooth = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    halves = np.empty((2 * len(smooth) - 1, smooth.shape[1]), np.float32)
    halves[::2], halves[1::2] = smooth, (smooth[1:] + smooth[:-1]) / 2
    return halves[STEP:] - halves[:-STEP]


def best_correlation(one: Array, other: Array) -> float:
    """The correlation of two sequences [t, d] at the lag where it is highest, over the frames that overlap there."""
    shorter = min(len(one), len(other))
    if not shorter:
        return 0.0
    size = 1 << (len(one) + len(other) - 1).bit_length()
    spectrum = (np.fft.rfft(one, size, axis=0) * np.fft.rfft(other, size, axis=0).conj()).sum(1)
    products = np.fft.irfft(spectrum, size)
    lags = np.arange(1 - len(other), len(one))
    start, end = np.maximum(lags, 0), np.minimum(len(one), len(other) + lags)
    lags, start, end = (values[end - start >= OVERLAP * shorter] for values in (lags, start, end))
    energies = [np.append(0, np.cumsum((sequence.astype(np.float64) ** 2).sum(1))) for sequence in (one, other)]
    energy = (energies[0][end] - energies[0][start]) * (energies[1][end - lags] - energies[1][start - lags])
    return float((products[lags % size] / np.sqrt(np.maximum(energy, 1e-12))).max())
