"""Scores as text, the same on the console, in reports and on model cards."""

from __future__ import annotations

CALIBRATION_ERRORS = {
    "ece": "ECE",
    "classwise_ece": "classwise ECE",
    "brier": "Brier score",
    "nll": "negative log-likelihood",
}
"""Key of `calibration` in metrics.json -> its printed name."""


def score(value: float | None) -> str:
    """Three decimals; `-` where a score is undefined."""
    return "-" if value is None else f"{value:.3f}"


def spread(mean: float | None, deviation: float | None) -> str:
    """`0.612 ± 0.034`; without a deviation, the mean alone."""
    return score(mean) + ("" if deviation is None else f" ± {deviation:.3f}")


def small_p(p: float) -> str:
    """A p value in a table: `0.031`, or `<0.001`."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def p_text(p: float) -> str:
    """A p value in a sentence: `p = 0.031`, or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
