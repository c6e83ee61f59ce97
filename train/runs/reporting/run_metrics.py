"""The content of metrics.json: the scores of a run over its folds, and of several runs over their seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.manifests.metrics.resampling import resampling_units
from emofuse.manifests.metrics.scores import LEVEL, METRICS, RESAMPLES, intervals, mean_and_deviation
from emofuse.manifests.targets.kind_intervals import kind_intervals
from emofuse.manifests.targets.scoring import definitions
from emofuse.manifests.targets.target import target_record
from emofuse.train.resolve.dialogues import CONTEXT
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.runs.reporting.leak_report import shared_with_training
from emofuse.train.runs.reporting.scored_predictions import ScoredPredictions, details, over_all
from emofuse.train.runs.reporting.utterance_table import utterance_rows


def over_folds(
    plan: FitPlan, results: Sequence[Mapping[str, Any]], predictions: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    """metrics.json of one seed: each fold, mean and deviation over folds, and all test predictions pooled.

    Args:
        results: The content of result.json of each fold.
        predictions: The rows of predictions.csv of all folds.
    """
    scored, target = _scored(plan, predictions), plan.protocol.target
    folds = [_with_all_metrics(result, scored, predictions) for result in results]
    mean, deviation = mean_and_deviation([fold["test"] for fold in folds])
    metrics = {
        "protocol": plan.protocol.name,
        "model": plan.title,
        "seed": plan.config.seed,
        "classes": list(plan.protocol.classes),
        "metrics": list(plan.shown_metrics),
        "definitions": METRICS if target.kind == "classes" else dict(definitions(target)),
        **({"target": target_record(target)} if target.kind != "classes" else {}),
        "reduced": plan.reduced(),
        "folds": folds,
        "mean": mean,
        "std": deviation,
        "pooled": scored.values(),
        **_of_predictions(plan, [scored]),
    }
    temperatures = {str(r["fold"]): r["temperature"] for r in results if "temperature" in r}
    if temperatures:
        metrics["calibration"]["temperature"] = temperatures
    if plan.config.limit:
        metrics["limit"] = plan.config.limit
    if short := plan.short_training():
        metrics["short_training"] = short
    if plan.spec.context:
        metrics[CONTEXT] = plan.spec.context(plan.settings)
    if plan.speaker_standardised:
        metrics["speaker_standardised"] = list(plan.speaker_standardised)
    if plan.config.shuffle:
        metrics["shuffled"] = list(plan.config.shuffle)
    if plan.config.score_without:
        metrics["without"] = {m: _mean_and_std([r["without"][m] for r in results]) for m in plan.config.score_without}
    if plan.config.optimism:
        best = [{name: r["optimistic"][name] for name in r["test"]} for r in results]
        metrics["optimistic"] = {
            "warning": "checkpoint chosen on test: never a score",
            "mean": mean_and_deviation(best)[0],
        }
    return metrics


def over_seeds(runs: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """metrics.json of several seeds: mean and deviation over seeds of each seed's mean over folds.

    Args:
        runs: Seed -> the content of its metrics.json.
    """
    first = next(iter(runs.values()))
    mean, deviation = mean_and_deviation([r["mean"] for r in runs.values()])
    pooled, pooled_deviation = mean_and_deviation([r["pooled"] for r in runs.values()])
    kept = [key for key in ("protocol", "model", "classes", "target", "metrics", "definitions") if key in first]
    return {key: first[key] for key in kept} | {
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
        **_optional_keys(first, runs),
        "wall_seconds": round(sum(r["wall_seconds"] for r in runs.values()), 1),
    }


def _optional_keys(first: Mapping[str, Any], runs: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """The keys that only some runs have: what was shortened or shuffled, and the scores with a modality absent."""
    found: dict[str, Any] = {
        key: first[key]
        for key in ("limit", "short_training", CONTEXT, "speaker_standardised", "shuffled")
        if key in first
    }
    if "without" in first:
        found["without"] = {
            m: _mean_and_std([r["without"][m]["mean"] for r in runs.values()]) for m in first["without"]
        }
    return found


def pooled_over_seeds(plan: FitPlan, predictions: Mapping[int, Sequence[Mapping[str, str]]]) -> dict[str, Any]:
    """What the pooled predictions of all seeds give: interval, classes, groups, calibration, and the confusion's sum.

    Args:
        predictions: Seed -> the rows of its predictions.csv.
    """
    return {"reduced": plan.reduced(), **_of_predictions(plan, [_scored(plan, rows) for rows in predictions.values()])}


def _scored(plan: FitPlan, predictions: Sequence[Mapping[str, str]]) -> ScoredPredictions:
    utterances = utterance_rows(plan.protocol, plan.utterances, [row["id"] for row in predictions])
    return ScoredPredictions.read(plan.protocol.target, predictions, utterances)


def _with_all_metrics(
    result: Mapping[str, Any], scored: ScoredPredictions, predictions: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    """The result of a fold, its test scores completed by the metrics that also need probabilities or speakers."""
    of_fold = scored.where(np.array([str(row["fold"]) == str(result["fold"]) for row in predictions]))
    return {**result, "test": of_fold.values() | result["test"]}


def _of_predictions(plan: FitPlan, seeds: Sequence[ScoredPredictions]) -> dict[str, Any]:
    """What the pooled predictions of one or several seeds give besides their scores."""
    ids, has_class = [row["id"] for row in seeds[0].utterances], plan.protocol.target.has_class
    predicted = np.array([seed.predicted for seed in seeds]) if has_class else None
    found = {
        "interval": interval(asdict(plan.protocol), seeds),
        **details(seeds),
        **shared_with_training(plan, ids, seeds[0].labels, predicted),
    }
    if plan.config.limit is None and has_class:  # a short run leaves utterances out on purpose
        found["over_all"] = over_all(seeds, _missing_labels(plan))
    return found


def _missing_labels(plan: FitPlan) -> NDArray[np.int64]:
    """The class numbers [m] of the utterances that the requested folds would test if they had every feature."""
    protocol, missing = plan.protocol, plan.task.missing
    if any(fold.train for fold in plan.folds):  # an evaluation trains nothing, and names only what it would test
        tested = {fold.name for fold in plan.folds} | ({"test"} if protocol.joint else set())
        missing = tuple(u for u in missing if protocol.group_of(u) in tested)
    return np.array([protocol.classes.index(str(protocol.class_of(u))) for u in missing], np.int64)


def interval(protocol: Mapping[str, Any], seeds: Sequence[ScoredPredictions]) -> dict[str, Any]:
    """Confidence intervals of the pooled scores of one seed, or of their mean over several.

    Args:
        protocol: Its fields, as config.json records them.
        seeds: The predictions of each seed for the same utterances.
    """
    units = resampling_units(protocol, seeds[0].utterances)
    predicted, target = np.array([seed.predicted for seed in seeds]), seeds[0].target
    return {
        "level": LEVEL,
        "of": "pooled" if len(seeds) == 1 else "pooled, mean over seeds",
        "unit": units.kind,
        "units": units.count,
        "inner_unit": units.inner_kind,
        "trusted": units.trusted,
        "method": f"percentile bootstrap, {RESAMPLES} resamples of {units.description}",
        **(intervals(seeds[0].labels, predicted, len(target.classes), units) if target.has_class else {}),
        **kind_intervals(target, [(s.found.truth, s.found.values, s.found.sets) for s in seeds], units),
    }


def _mean_and_std(values: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    return dict(zip(("mean", "std"), mean_and_deviation(values), strict=True))
