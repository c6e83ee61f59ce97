"""The top of the page: the one score, what it means, and what a reader must know before believing it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emofuse.common.console import plural
from emofuse.common.page.blocks import Facts, Headline, Section, Warnings
from emofuse.manifests.metrics import METRICS, RESAMPLES, short_name
from emofuse.train.runs.page.record import RunRecord
from emofuse.train.runs.reporting.caveats import caveats
from emofuse.train.runs.reporting.score_text import score, spread


def result_section(record: RunRecord) -> Section:
    """The headline score, the caveats, and the counts behind it."""
    metrics, name = record.metrics, record.headline_metric
    interval = metrics.get("interval", {}).get(name)
    deviation = metrics.get("pooled_std", {}).get(name)
    blocks: list[Any] = [
        Headline(
            value=score(metrics["pooled"].get(name)),
            interval=f"95 % interval {score(interval[0])} to {score(interval[1])}" if interval else "",
            label=f"{short_name(name)} on {plural(record.tested, 'test utterance')}, {_pooled_over(record)}",
            meaning=" ".join([_definition(name), _chance_line(metrics, name), _interval_line(metrics, name)]),
        )
    ]
    if found := caveats(metrics):
        blocks.append(Warnings(lines=[f"{line}." for line in found]))
    over = "seeds" if record.seeds > 1 else "folds"
    facts = [("Test utterances", f"{record.tested:,}"), ("Classes", str(len(metrics["classes"])))]
    facts += [("Folds", str(len(record.folds))), ("Seeds", str(record.seeds))]
    if (by_chance := chance(metrics, name)) is not None:
        facts.append((f"{short_name(name)} of the most frequent class", score(by_chance)))
    if metrics["std"].get(name) is not None and (record.seeds > 1 or len(record.folds) > 1):
        facts.append(
            (f"{short_name(name)}, mean ± std over {over}", spread(metrics["mean"][name], metrics["std"][name]))
        )
    if deviation is not None:
        facts.append((f"{short_name(name)} pooled, ± std over seeds", spread(metrics["pooled"][name], deviation)))
    others = [other for other in metrics["metrics"] if other != name and other in metrics["pooled"]]
    facts += [(f"{short_name(other)}, pooled", score(metrics["pooled"][other])) for other in others]
    blocks.append(Facts(facts=facts))
    return Section(name="result", title="Result", blocks=blocks)


def chance(metrics: Mapping[str, Any], name: str) -> float | None:
    """The score of always predicting the most frequent class of the test utterances; None where it has no meaning."""
    support = np.array(metrics["confusion"], float).sum(1)
    classes = int((support > 0).sum())
    if not classes:
        return None
    share = float(support.max() / support.sum())
    f1 = 2 * share / (1 + share)
    known = {"ua": 1 / classes, "wa": share, "micro_f1": share, "wf1": share * f1, "macro_f1": f1 / classes}
    return (known | {"mcc": 0.0, "auroc": 0.5}).get(name)


def _pooled_over(record: RunRecord) -> str:
    folds = f"pooled over {plural(len(record.folds), 'fold')}" if len(record.folds) > 1 else "one fold"
    return folds if record.seeds == 1 else f"{folds}, mean of {record.seeds} seeds"


def _definition(name: str) -> str:
    short, _, definition = METRICS[name].partition(", ")
    return f"{short}: {definition}."


def _chance_line(metrics: Mapping[str, Any], name: str) -> str:
    found = chance(metrics, name)
    return "" if found is None else f"Always predicting the most frequent class would score {score(found)}."


def _interval_line(metrics: Mapping[str, Any], name: str) -> str:
    """What the interval resamples, in words; empty where there is none."""
    interval = metrics.get("interval", {})
    if name not in interval:
        return ""
    unit = interval["unit"]
    inner = f", then {interval['inner_unit']}s of each" if interval.get("inner_unit") else ""
    return (
        f"The interval resamples the {plural(interval['units'], unit)} of the test{inner} ({RESAMPLES} times): "
        f"how the score would vary with other {unit}s, not with other training."
    )
