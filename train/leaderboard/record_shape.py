"""What metrics.json and config.json must be so that a leaderboard can read them; other files check nothing again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from emofuse.common.shapes import misfits
from emofuse.manifests.metrics.scores import LOWER_IS_BETTER
from emofuse.train.fitting.file_names import CONFIG, METRICS
from emofuse.train.fitting.scoring.recorded_target import TARGET_SHAPE
from emofuse.train.runs.reporting.caveats import SHUFFLED

_SCORES = {str: (float, None)}
_FOLDS = [{"fold": int, "test": _SCORES}]
FOLDS_SHAPE = {"folds": _FOLDS}
"""Of the metrics.json of one of several seeds."""
_CONFIG_SHAPE = {
    "run": {
        "model": str,
        "features": {str: {"name": str}},
        "corpus": str,
        "manifest": str,
        "folds": [int],
        "settings?": {str: object},
        "protocol": {
            "name": str,
            "corpus": str,
            "metrics": [str],
            "fold_by": str,
            "fold_parts?": int,
            "joint?": ({"by": {str: str}, "test_corpus?": (str, None)}, None),
        },
    },
    "calls?": [{"started?": str}],
}
_METRICS_SHAPE = {
    "protocol": str,
    "model": str,
    "classes": [str],
    "target?": TARGET_SHAPE,
    "metrics": [str],
    "pooled": _SCORES,
    "pooled_std?": _SCORES,
    "confusion": [[int]],
    "seeds?": [int],
    "folds?": _FOLDS,
    "wall_seconds?": float,
    "parameters?": int,
    "reduced?": {"found?": int, "expected?": int},
    "limit?": int,
    "short_training?": {"steps?": int, "epochs?": float, "preset": float, "option": str},
    "shuffled?": [str],
    "interval?": {"unit": str, "units": int, "trusted?": bool},
    "duplicate_audio?": [{"test": str}],
    "near_duplicates?": [{"test": str}],
    "evaluation?": {
        "trained_on": str,
        "evaluated_on": str,
        "same_corpus": bool,
        "run_caveats": [str],
        "left_out": {str: int},
        "absent_classes": [str],
        "untested": int,
        "shared_audio": [object],
        "unchecked_stores": [str],
    },
}


def record_problems(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    """What a leaderboard cannot read of a run; empty if it can."""
    problems = misfits(metrics, _METRICS_SHAPE, METRICS) + misfits(config, _CONFIG_SHAPE, CONFIG)
    return problems or _contradictions(config["run"], metrics)


def _most(metric: str) -> float:
    """The largest value of a metric; an error or a divergence has none."""
    return math.inf if metric.partition("_")[0] in LOWER_IS_BETTER else 1.0


def _contradictions(identity: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    """What is wrong with values of the right types."""
    problems, classes = [], len(metrics["classes"])
    if not ("folds" in metrics or metrics.get("seeds")):
        problems.append(f"{METRICS} has neither seeds nor folds")
    rows = metrics["confusion"]
    if not (rows == [] and "target" in metrics) and (len(rows) != classes or any(len(row) != classes for row in rows)):
        problems.append(f"{METRICS}: the confusion matrix is not of {classes} classes")
    if not identity["protocol"]["metrics"]:
        problems.append(f"{CONFIG}: the protocol has no metrics")
    wrong = [name for name, value in metrics["pooled"].items() if value is not None and not -1 <= value <= _most(name)]
    if wrong:
        problems.append(f"{METRICS}: {', '.join(wrong)} not in -1..1")
    if unknown := set(metrics.get("shuffled", ())) - SHUFFLED.keys():
        problems.append(f"{METRICS}: shuffled is {', '.join(sorted(unknown))}, expected some of {', '.join(SHUFFLED)}")
    reduced = metrics.get("reduced")
    if reduced and not {"found", "expected"} <= reduced.keys():
        problems.append(f"{METRICS}: reduced has no found and expected")
    return problems
