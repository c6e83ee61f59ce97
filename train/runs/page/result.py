"""The top of the page: the one score, what it means, and what a reader must know before believing it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emofuse.common.output.console import as_sentence, plural
from emofuse.common.page.blocks import Facts, Headline, Section, Warnings
from emofuse.manifests.metrics.resampling import narrow_interval
from emofuse.manifests.metrics.scores import RESAMPLES, definition, short_name
from emofuse.train.runs.page.record import RunRecord
from emofuse.train.runs.reporting.caveats import caveats
from emofuse.train.runs.reporting.majority_score import majority_score
from emofuse.train.runs.reporting.score_text import score, spread


def result_section(record: RunRecord) -> Section:
    """The headline score, the caveats, and the counts behind it."""
    metrics, name = record.metrics, record.headline_metric
    interval = metrics.get("interval", {}).get(name)
    meaning = [
        _definition(name),
        _majority_line(metrics, name),
        _interval_line(metrics, name),
        _means_line(record, name),
    ]
    blocks: list[Any] = [
        Headline(
            value=score(metrics["pooled"].get(name)),
            interval=f"95 % interval {score(interval[0])} to {score(interval[1])}" if interval else "",
            label=f"{short_name(name)} on {plural(record.tested, 'test utterance')}{_pooled_over(record)}",
            meaning=" ".join(filter(None, meaning)),
        )
    ]
    if found := caveats(metrics):
        blocks.append(Warnings(lines=[*map(as_sentence, found)]))
    facts = [("Test utterances", f"{record.tested:,}")]
    facts += [("Classes", str(len(metrics["classes"])))] if metrics["classes"] else []
    facts += [("Folds", str(len(record.folds))), ("Seeds", str(record.seeds))]
    if (majority := majority_score(metrics["confusion"], name)) is not None:
        facts.append((f"{short_name(name)} of the most frequent class", score(majority)))
    facts += _means(record, name)
    pooled = ", pooled" if record.has_folds else ""
    others = [other for other in metrics["metrics"] if other != name and other in metrics["pooled"]]
    facts += [(f"{short_name(other)}{pooled}", score(metrics["pooled"][other])) for other in others]
    blocks.append(Facts(facts=facts))
    return Section(name="result", title="Result", blocks=blocks)


def _means(record: RunRecord, name: str) -> list[tuple[str, str]]:
    """The mean over seeds or folds with its deviation, and with several of both that of the pooled score."""
    metrics, short, several = record.metrics, short_name(name), record.seeds > 1
    found = []
    if metrics["std"].get(name) is not None and (several or record.has_folds):
        of_folds = "mean over folds, ± std over seeds" if record.has_folds else "mean ± std over seeds"
        label = of_folds if several else "mean ± std over folds"
        found.append((f"{short}, {label}", spread(metrics["mean"][name], metrics["std"][name])))
    deviation = metrics.get("pooled_std", {}).get(name)
    if deviation is not None and record.has_folds:
        found.append((f"{short} pooled, ± std over seeds", spread(metrics["pooled"][name], deviation)))
    return found


def _means_line(record: RunRecord, name: str) -> str:
    """How the headline relates to the mean over folds; empty where there is one fold."""
    mean = record.metrics["mean"].get(name)
    if not record.has_folds or mean is None:
        return ""
    over = "folds and seeds" if record.seeds > 1 else "folds"
    return (
        f"Pooled is one score of the predictions of all folds; the mean over {over}, {score(mean)}, weighs each fold "
        "alike. Papers report the one or the other: compare like with like."
    )


def _pooled_over(record: RunRecord) -> str:
    folds = f", pooled over {plural(len(record.folds), 'fold')}" if record.has_folds else ""
    return folds if record.seeds == 1 else f"{folds}, mean of {record.seeds} seeds"


def _definition(name: str) -> str:
    short, _, rest = definition(name).partition(", ")
    return f"{short}: {rest}."


def _majority_line(metrics: Mapping[str, Any], name: str) -> str:
    found = majority_score(metrics["confusion"], name)
    return "" if found is None else f"Always predicting the most frequent class would score {score(found)}."


def _interval_line(metrics: Mapping[str, Any], name: str) -> str:
    """What the interval resamples, in words; empty where there is none."""
    interval = metrics.get("interval", {})
    if name not in interval:
        return ""
    unit = interval["unit"]
    narrow = narrow_interval(interval["units"], unit)
    inner = f", then {interval['inner_unit']}s of each" if interval.get("inner_unit") else ""
    return (
        f"The interval resamples the {plural(interval['units'], unit)} of the test{inner} ({RESAMPLES} times): "
        f"how the score would vary with other {unit}s, not with other training." + (f" {narrow}." if narrow else "")
    )
