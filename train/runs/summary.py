"""From fold results to what a reader sees: metrics.json's content, and the header and table on the screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.console import printable, table
from emofuse.manifests.metrics import LEVEL, RESAMPLES, confusion, intervals, mean_and_deviation, recalls, scores
from emofuse.manifests.protocol import METRICS
from emofuse.manifests.schema import Utterance
from emofuse.train.models.config import settings_of
from emofuse.train.resolve.per_fold_feature import PerFoldFeature
from emofuse.train.resolve.plan import FitPlan


def summarise(plan: FitPlan, results: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """metrics.json of one seed: per fold, mean and deviation over folds, and all test predictions pooled."""
    classes = plan.protocol.classes
    index = {c: i for i, c in enumerate(classes)}
    labels, found = (np.array([index[r[k]] for r in rows], np.int64) for k in ("label", "prediction"))
    matrix = confusion(labels, found, len(classes))
    mean, deviation = mean_and_deviation([r["test"] for r in results])
    metrics = {
        "protocol": plan.protocol.name,
        "model": plan.title,
        "seed": plan.config.seed,
        "classes": list(classes),
        "metrics": list(plan.protocol.metrics),
        "definitions": METRICS,
        "reduced": plan.reduced(),
        "folds": list(results),
        "mean": mean,
        "std": deviation,
        "pooled": scores(labels, found),
        "interval": _interval(plan, labels, found, [r["id"] for r in rows]),
        "recall": dict(zip(classes, recalls(matrix), strict=True)),
        "confusion": matrix.tolist(),
    }
    if plan.config.limit:
        metrics["limit"] = plan.config.limit
    if plan.config.score_without:
        metrics["without"] = {
            m: dict(zip(("mean", "std"), mean_and_deviation([r["without"][m] for r in results]), strict=True))
            for m in plan.config.score_without
        }
    if plan.config.optimism:
        keys = list(mean)
        best = [{k: r["optimistic"][k] for k in keys} for r in results]
        metrics["optimistic"] = {
            "warning": "checkpoint chosen on test: never a score",
            "mean": mean_and_deviation(best)[0],
        }
    return metrics


def _interval(plan: FitPlan, labels: NDArray[np.int64], found: NDArray[np.int64], ids: Sequence[str]) -> dict[str, Any]:
    unit, units = bootstrap_units(plan.utterances, ids)
    return {
        "level": LEVEL,
        "of": "pooled" if found.ndim == 1 else "pooled, mean over seeds",
        "unit": unit,
        "units": len(set(units)),
        "method": f"percentile bootstrap, {RESAMPLES} resamples of whole units",
        **intervals(labels, found, len(plan.protocol.classes), units),
    }


def bootstrap_units(utterances: Sequence[Utterance], ids: Sequence[str]) -> tuple[str, list[str]]:
    """What is resampled: dialogues where every utterance names one (and there are several), else utterances."""
    dialogue = {u.id: u.dialogue for u in utterances}
    found = [dialogue[i] for i in ids]
    if None not in found and 1 < len(set(found)) < len(ids):
        return "dialogue", [str(d) for d in found]
    return "utterance", list(ids)


def over_seeds(runs: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """metrics.json of several seeds: mean and deviation over seeds of each seed's mean over folds."""
    first = next(iter(runs.values()))
    mean, deviation = mean_and_deviation([r["mean"] for r in runs.values()])
    pooled, pooled_deviation = mean_and_deviation([r["pooled"] for r in runs.values()])
    return {key: first[key] for key in ("protocol", "model", "classes", "metrics", "definitions")} | {
        "seeds": list(runs),
        "per_seed": {
            str(seed): {
                "mean": r["mean"],
                "pooled": r["pooled"],
                "one_class_folds": [f["fold"] for f in r["folds"] if f["predicts_only"]],
            }
            for seed, r in runs.items()
        },
        "mean": mean,
        "std": deviation,
        "pooled": pooled,
        "pooled_std": pooled_deviation,
        **_shared(first, runs),
        "wall_seconds": round(sum(r["wall_seconds"] for r in runs.values()), 1),
    }


def _shared(first: Mapping[str, Any], runs: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """What only some runs have: how short they are, and the scores with a modality absent."""
    found: dict[str, Any] = {"limit": first["limit"]} if "limit" in first else {}
    if "without" in first:
        each = {m: mean_and_deviation([r["without"][m]["mean"] for r in runs.values()]) for m in first["without"]}
        found["without"] = {m: dict(zip(("mean", "std"), pair, strict=True)) for m, pair in each.items()}
    return found


def pooled_over_seeds(plan: FitPlan, predictions: Mapping[int, Sequence[Mapping[str, str]]]) -> dict[str, Any]:
    """What the predictions of all seeds give together: interval, recalls and the sum of the confusion matrices."""
    classes = plan.protocol.classes
    index, every = {c: i for i, c in enumerate(classes)}, list(predictions.values())
    labels = np.array([index[row["label"]] for row in every[0]], np.int64)
    found = np.array([[index[row["prediction"]] for row in rows] for rows in every], np.int64)
    matrix = sum((confusion(labels, one, len(classes)) for one in found), np.zeros((len(classes),) * 2, np.int64))
    return {
        "reduced": plan.reduced(),
        "interval": _interval(plan, labels, found, [row["id"] for row in every[0]]),
        "recall": dict(zip(classes, recalls(matrix), strict=True)),
        "confusion": matrix.tolist(),
    }


def header(plan: FitPlan, parameters: int) -> list[str]:
    """What is fitted, on what, and by which rules."""
    from emofuse.train.models.registry import MODELS

    description = next(e.description for e in MODELS if e.name == plan.model)
    counts = Counter(plan.protocol.class_of(u) for u in plan.utterances)
    settings = settings_of(plan.settings, plan.features)
    settings.pop("steps" if plan.settings.epochs else "epochs")  # the one of the two that is not given
    lines = [
        f"protocol  {plan.protocol.name}: {plan.protocol.source}",
        f"classes   {', '.join(f'{c} {counts[c]}' for c in plan.protocol.classes)}; {len(plan.utterances)} in all",
        *(_feature_line(plan, m) for m in plan.features),
        f"model     {plan.title}: {description}; {parameters:,} parameters",
        f"settings  {', '.join(f'{k}={v:g}' if isinstance(v, float) else f'{k}={v}' for k, v in settings.items())}",
        f"folds     by {plan.protocol.grouping}: "
        + ", ".join(f"{f.number} ({f.name}) {len(f.train)}/{len(f.validation)}/{len(f.test)}" for f in plan.folds[:10])
        + (", ..." if len(plan.folds) > 10 else "")
        + " train/validation/test",
        f"selection {_selection(plan)}",
        *(f"note      {remark}" for remark in plan.remarks),
    ]
    if plan.task.differences:
        lines.append(f"reduced   {_reduced(plan.reduced())}; differences: {'; '.join(plan.task.differences)}")
    if plan.task.excluded:
        named = [f"{id} ({reason})" for id, reason in plan.task.excluded.items()]
        shown = ", ".join(named[:5]) + (", ..." if len(named) > 5 else "")
        lines.append(f"excluded  {len(named)} utterances without an up-to-date feature: {shown}")
    return [printable(line, 400) for line in lines]


def _feature_line(plan: FitPlan, modality: str) -> str:
    feature = plan.features[modality]
    rate = f", {feature.frame_rate:g} frames/s" if feature.frame_rate else ""
    layers = f" x {len(feature.layers)} layers" if feature.layers else ""
    scaled = ", standardised by training statistics" if modality in plan.standardised else ""
    parts = ", for each fold its own part" if isinstance(feature, PerFoldFeature) else ""
    return f"{modality:9} {feature.name} ({feature.encoder}), {feature.dimension} wide{layers}{rate}{parts}{scaled}"


def _selection(plan: FitPlan) -> str:
    metric = METRICS[plan.protocol.metrics[0]].split(",")[0]
    if plan.config.select == "last":
        return "the last step; no validation"
    return f"best {metric} on {plan.protocol.validated_on}; test is scored once, after that"


def _reduced(reduced: Mapping[str, Any]) -> str:
    return f"{reduced['found']} of {reduced['expected']} expected utterances (--allow-missing)"


def closing(plan: FitPlan, metrics: Mapping[str, Any]) -> list[str]:
    """The table and the sentences under it."""
    names = list(plan.protocol.metrics)
    reduced = f", reduced task: {_reduced(metrics['reduced'])}" if metrics["reduced"] else ""
    short = f", short run: {metrics['limit']} utterances (--limit)" if "limit" in metrics else ""
    title = f"{metrics['model']} on {metrics['protocol']}{reduced}{short}"
    lines = ["", title, *_definitions(names), ""]
    recall = ", ".join(f"{c} {'-' if r is None else f'{r:.3f}'}" for c, r in metrics["recall"].items())
    interval = metrics["interval"]
    within = f"95 % interval over {interval['units']} {interval['unit']}s"
    bounds = [f"{interval[n][0]:.3f}-{interval[n][1]:.3f}" for n in names]
    if "seeds" in metrics:
        rows = [[f"seed {s}", *_cells(r["mean"], names), _of_seed(r)] for s, r in metrics["per_seed"].items()]
        rows.append(["mean ± std over seeds", *_spread(metrics["mean"], metrics["std"], names), ""])
        rows.append(["pooled, mean over seeds", *_spread(metrics["pooled"], metrics["pooled_std"], names), ""])
        rows.append([within, *bounds, ""])
        rows += [[told, *_spread(v["mean"], v["std"], names), ""] for told, v in _without(metrics)]
        return [*lines, table(["", *map(_short, names), ""], rows), f"recall over seeds: {recall}"]
    rows = [
        [
            *(f"fold {r['fold']} ({r['name']})", str(r["utterances"]["test"]), str(r["step"])),
            *(*_cells(r["test"], names), f"predicts one class only: {only}" if (only := r["predicts_only"]) else ""),
        ]
        for r in metrics["folds"]
    ]
    if len(rows) > 1:
        rows.append(["mean ± std over folds", "", "", *_spread(metrics["mean"], metrics["std"], names), ""])
    total = sum(r["utterances"]["test"] for r in metrics["folds"])
    rows.append(["pooled", str(total), "", *_cells(metrics["pooled"], names), ""])
    rows.append([within, "", "", *bounds, ""])
    rows += [[told, "", "", *_spread(v["mean"], v["std"], names), ""] for told, v in _without(metrics)]
    lines.append(table(["", "n", "step", *map(_short, names), ""], rows))
    lines.append(f"recall: {recall}")
    if "optimistic" in metrics:
        best = ", ".join(f"{_short(n)} {metrics['optimistic']['mean'][n]:.3f}" for n in names)
        lines.append(f"optimistic (checkpoint chosen on test, never the score): {best}")
    return lines


def _without(metrics: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(f"{m} absent at inference, mean ± std", found) for m, found in metrics.get("without", {}).items()]


def _of_seed(result: Mapping[str, Any]) -> str:
    folds = result["one_class_folds"]
    return f"predicts one class only in fold {', '.join(map(str, folds))}" if folds else ""


def _short(name: str) -> str:
    return METRICS[name].split(",")[0]


def _definitions(names: Iterable[str]) -> list[str]:
    return [f"{METRICS[n]}." for n in names]


def _cells(values: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [f"{values[n]:.3f}" for n in names]


def _spread(mean: Mapping[str, float], deviation: Mapping[str, float | None], names: Sequence[str]) -> list[str]:
    return [f"{mean[n]:.3f}" + (f" ± {d:.3f}" if (d := deviation[n]) is not None else "") for n in names]
