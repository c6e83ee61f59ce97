"""The score of the most frequent class: what a model must beat to have learned anything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def majority_score(confusion: Sequence[Sequence[int]], metric: str) -> float | None:
    """What always predicting the most frequent class of the test utterances scores; None where it has no meaning.

    Args:
        confusion: Rows are labels [C, C].
        metric: A key of `METRICS`.
    """
    if not len(confusion):
        return None
    support = np.array(confusion, float).sum(1)
    classes = int((support > 0).sum())
    if not classes:
        return None
    share = float(support.max() / support.sum())
    f1 = 2 * share / (1 + share)
    known = {"ua": 1 / classes, "wa": share, "micro_f1": share, "wf1": share * f1, "macro_f1": f1 / classes}
    return (known | {"mcc": 0.0, "auroc": 0.5}).get(metric)
