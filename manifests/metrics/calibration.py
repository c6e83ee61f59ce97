"""Whether probabilities are what they say (calibration), and temperature scaling (Guo et al. 2017).

A model is calibrated if, of the utterances that it is 80 % sure of, 80 % are right.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.manifests.metrics.scores import Labels

BINS = 15
"""Equal-width bins of probability, as in Guo et al. 2017."""
BINNING = f"{BINS} equal-width bins of probability, (0, 1/{BINS}], ..."
TEMPERATURES = (0.05, 20.0)
"""The fitted temperature is between these."""
SMALLEST = float(np.finfo(np.float32).tiny)
"""The smallest probability whose logarithm is taken."""

Probabilities = NDArray[np.floating[Any]]


def calibration(labels: Labels, probabilities: Probabilities) -> dict[str, Any]:
    """Errors of calibration, all 0 at best, and the data of a reliability diagram, JSON-ready.

    `ece` compares the largest probability with the accuracy (Guo et al. 2017, equation 3), `classwise_ece` each class's
    probability with its frequency, mean over classes (Kull et al. 2019); both weight bins by their size. `brier` is the
    mean squared distance from the one-hot label (0 to 2), `nll` the mean of -log p of the label.

    Args:
        labels: True class numbers [n].
        probabilities: Of the classes [n, C].
    """
    n, classes = probabilities.shape
    values = probabilities.astype(np.float64)
    values /= values.sum(1, keepdims=True)
    one_hot = np.eye(classes)[labels]
    top = values.argmax(1)
    diagram = reliability(values[np.arange(n), top], top == labels)
    classwise = [_expected_error(reliability(values[:, c], labels == c), n) for c in range(classes)]
    return {
        "binning": BINNING,
        "ece": _expected_error(diagram, n),
        "classwise_ece": float(np.mean(classwise)),
        "brier": float(((values - one_hot) ** 2).sum(1).mean()),
        "nll": _negative_log_likelihood(np.log(np.maximum(values, SMALLEST)), labels),
        "reliability": diagram,
    }


def reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Each bin that has utterances: from, to, n, mean confidence and accuracy.

    Args:
        confidence: A probability for each utterance [n].
        right: Whether what it is the probability of is true [n].
    """
    number = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return [
        {
            "from": b / BINS,
            "to": (b + 1) / BINS,
            "n": int((number == b).sum()),
            "confidence": float(confidence[number == b].mean()),
            "accuracy": float(right[number == b].mean()),
        }
        for b in np.unique(number).tolist()
    ]


def _expected_error(diagram: list[dict[str, Any]], n: int) -> float:
    return float(sum(b["n"] / n * abs(b["accuracy"] - b["confidence"]) for b in diagram))


def with_temperature(probabilities: Probabilities, temperature: float) -> NDArray[np.float64]:
    """Probabilities [n, C] of the logits divided by a temperature: p^(1/T), normalised. The order of classes stays."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST)) / temperature
    powers = np.exp(logits - logits.max(1, keepdims=True))
    scaled: NDArray[np.float64] = powers / powers.sum(1, keepdims=True)
    return scaled


def fit_temperature(labels: Labels, probabilities: Probabilities) -> float:
    """The temperature that gives labels [n] the highest likelihood, for probabilities [n, C]; within `TEMPERATURES`."""
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        scaled = with_temperature(probabilities, float(np.exp(log_temperature)))
        return _negative_log_likelihood(np.log(np.maximum(scaled, SMALLEST)), labels)

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def _negative_log_likelihood(log_probabilities: NDArray[np.float64], labels: Labels) -> float:
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())
