"""Differences of scores as text: in points of a hundred, or in the unit of a score that is not a share."""

from __future__ import annotations

from emofuse.manifests.metrics.scores import LOWER_IS_BETTER


def is_raw(metric: str) -> bool:
    """Whether a score has a unit of its own: nats, or units of a scale."""
    return metric.partition("_")[0] in LOWER_IS_BETTER


def difference(metric: str, value: float) -> str:
    """A difference without a sign in front of positive ones."""
    return f"{value:.3f}" if is_raw(metric) else f"{100 * value:.1f}"
