"""The numbers of a model card: scores with intervals, by class and by group, and calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emofuse.common.output.console import plural
from emofuse.manifests.metrics.scores import short_name
from emofuse.train.exporting.card.markdown import bullets, escaped, table
from emofuse.train.runs.reporting.console_report import group_lines
from emofuse.train.runs.reporting.leak_report import near_duplicate_lines, text_rows, uneven_classes
from emofuse.train.runs.reporting.score_text import CALIBRATION_ERRORS, score, spread

Metrics = Mapping[str, Any]
MAX_GROUPS = 30
"""Larger tables of groups are left out; the worst group is always named."""


def score_lines(metrics: Metrics) -> list[str]:
    """Mean over folds (or seeds), pooled score and interval of each metric of the protocol."""
    interval, several = metrics["interval"], "seeds" in metrics
    rows = [
        [
            short_name(name),
            spread(metrics["mean"].get(name), metrics["std"].get(name)),
            score(metrics["pooled"].get(name)),
            "-".join(score(bound) for bound in interval[name]) if interval.get(name) else "-",
        ]
        for name in metrics["metrics"]
    ]
    over = "seeds" if several else "folds"
    units = plural(interval["units"], interval["unit"])
    return [
        *table(["", f"mean ± deviation over {over}", "pooled", f"{interval['level']:.0%} interval"], rows),
        f"The interval is over {units}: {escaped(interval['method'])}.",
        "",
    ]


def class_lines(metrics: Metrics) -> list[str]:
    """Precision, recall, F1 and number of utterances of each class; in old runs recall alone."""
    per_class = metrics.get("per_class")
    if per_class is None:
        return table(["class", "recall"], [[c, score(r)] for c, r in metrics["recall"].items()])
    rows = [
        [name, *(score(of_class[key]) for key in ("precision", "recall", "f1")), of_class["support"]]
        for name, of_class in per_class.items()
    ]
    return table(["class", "precision", "recall", "F1", "utterances"], rows)


def group_tables(metrics: Metrics) -> list[str]:
    """UA and WA of each speaker, session and gender, as far as the run knows them."""
    lines: list[str] = []
    for kind, groups in metrics.get("groups", {}).items():
        if len(groups) > MAX_GROUPS:
            lines += [f"{len(groups)} {kind}s: see metrics.json.", ""]
        else:
            rows = [[name, g["n"], score(g["ua"]), score(g["wa"])] for name, g in groups.items()]
            lines += table([kind, "utterances", "UA", "WA"], rows)
    worst = [escaped(line) for line in group_lines(metrics)]
    lines += bullets(worst) if worst else []
    return lines or ["The run records no scores of speakers, sessions or genders.", ""]


def calibration_table(metrics: Metrics) -> list[str]:
    """Errors of the probabilities, before and after temperature scaling; nothing for runs that do not record them."""
    found = metrics.get("calibration")
    if not found:
        return []
    kinds = {"the model's own": found} | ({"with a temperature": found["calibrated"]} if "calibrated" in found else {})
    rows = [[kind, *(score(errors.get(name)) for name in CALIBRATION_ERRORS)] for kind, errors in kinds.items()]
    return table(["probabilities", *CALIBRATION_ERRORS.values()], rows)


def shared_lines(metrics: Metrics) -> list[str]:
    """What the test sides share with training: repeated texts with their scores, near-copies, uneven classes."""
    names = metrics["metrics"]
    rows = [[f"{label}, {plural(count, 'utterance')}", *cells] for label, count, cells in text_rows(metrics, names)]
    items = [escaped(line) for line in [*near_duplicate_lines(metrics), *uneven_classes(metrics)]]
    texts = table(["pooled scores", *(short_name(n) for n in names)], rows) if rows else []
    return [*texts, *(bullets(items) if items else [])]
