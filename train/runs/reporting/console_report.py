"""What a fit prints: the header above the training, and the table of scores below it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from emofuse.common.output.console import format_table, plural, printable
from emofuse.manifests.metrics.resampling import narrow_interval
from emofuse.manifests.metrics.scores import short_name
from emofuse.manifests.row_filter import where_text
from emofuse.store.core.augmented import count_copies
from emofuse.train.models.config import settings_of
from emofuse.train.models.registry import MODELS
from emofuse.train.resolve.features.per_fold_feature import PerFoldFeature
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.runs.reporting.caveats import caveats, reduced_counts
from emofuse.train.runs.reporting.leak_report import near_duplicate_lines, text_rows, texts_line, uneven_classes
from emofuse.train.runs.reporting.score_text import CALIBRATION_ERRORS, score, spread

NOTE, TEXTS, REDUCED, EXCLUDED = "note", "texts", "reduced", "excluded"
"""First words of the lines that a reader of the scores must know; `reproduce` repeats all but the texts."""
MAX_FOLDS, MAX_EXCLUDED = 10, 5
"""How many folds and how many excluded utterances the header lists."""


def header(plan: FitPlan, parameters: int) -> list[str]:
    """What is fitted, on what, and by which rules."""
    lines = [
        f"protocol  {plan.protocol.name}: {plan.protocol.source}",
        *([f"where     {where_text(plan.protocol.where)}"] if plan.protocol.where else []),
        classes_line(plan),
        *(_feature_line(plan, m) for m in plan.features),
        f"model     {plan.title}: {MODELS.entry(plan.model).description}; {parameters:,} parameters",
        f"settings  {_settings(plan)}",
        f"folds     by {plan.protocol.grouping}: {_folds(plan)} train/validation/test",
        f"selection {_selection(plan)}",
        *texts_line(plan),
        *(f"{NOTE:9} {remark}" for remark in plan.remarks),
    ]
    if plan.task.differences:
        lines.append(f"{REDUCED:9} {reduced_counts(plan.reduced())}; differences: {'; '.join(plan.task.differences)}")
    lines += excluded_line(plan)
    return [printable(line, 400) for line in lines]


def warnings(header_lines: Sequence[str]) -> list[str]:
    """The lines of a header that `--quiet` keeps: notes, repeated texts, reduced counts, excluded utterances."""
    return [line for line in header_lines if line.split(" ")[0] in (NOTE, TEXTS, REDUCED, EXCLUDED)]


def classes_line(plan: FitPlan) -> str:
    """How many utterances each class has; what is rated, and its scale."""
    target, total = plan.protocol.target, f"{len(plan.utterances)} in all"
    counts = Counter(c for u in plan.utterances for c in plan.protocol.classes_of(u))
    classes = ", ".join(f"{c} {counts[c]}" for c in target.classes)
    scales = ", ".join(f"{d.name} {d.low:g} to {d.high:g}" for d in target.dimensions)
    if target.kind == "classes":
        return f"classes   {classes}; {total}"
    return f"target    {target.kind}: {'; '.join(filter(None, [classes, scales, total]))}"


def excluded_line(plan: FitPlan) -> list[str]:
    """The first utterances without a feature, with the reasons; empty where all have every feature."""
    if not plan.task.excluded:
        return []
    named = [f"{id} ({reason})" for id, reason in plan.task.excluded.items()]
    shown = ", ".join(named[:MAX_EXCLUDED]) + (", ..." if len(named) > MAX_EXCLUDED else "")
    return [f"{EXCLUDED:9} {plural(len(named), 'utterance')} without an up-to-date feature: {shown}"]


def _feature_line(plan: FitPlan, modality: str) -> str:
    feature = plan.features[modality]
    size = f"{feature.dimension}-dimensional"
    layers = f" x {len(feature.layers)} layers" if feature.layers else ""
    rate = f", {feature.frame_rate:g} frames/s" if feature.frame_rate else ""
    per_fold = ", a separate feature for each fold" if isinstance(feature, PerFoldFeature) else ""
    scaled = ", standardised by training statistics" if modality in plan.standardised else ""
    scaled = ", standardised by speaker" if modality in plan.speaker_standardised else scaled
    number = len(plan.copies) if modality == "audio" else 0
    copies = f"; training also on {count_copies(number)}" if number else ""
    return f"{modality:9} {feature.name} ({feature.encoder}), {size}{layers}{rate}{per_fold}{scaled}{copies}"


def _settings(plan: FitPlan) -> str:
    settings = settings_of(plan.settings, plan.features)
    settings.pop("steps" if plan.settings.epochs else "epochs")  # whichever of the two is not set
    return ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in settings.items())


def _folds(plan: FitPlan) -> str:
    sizes = [f"{f.number} ({f.name}) {len(f.train)}/{len(f.validation)}/{len(f.test)}" for f in plan.folds[:MAX_FOLDS]]
    return ", ".join(sizes) + (", ..." if len(plan.folds) > MAX_FOLDS else "")


def _selection(plan: FitPlan) -> str:
    if plan.config.select == "last":
        return "the last step; no validation"
    metric = short_name(plan.protocol.metrics[0])
    return f"best {metric} on {plan.protocol.validated_on}; test is scored once, after that"


def closing(metrics: Mapping[str, Any]) -> list[str]:
    """The table of scores and the lines around it, from the content of metrics.json."""
    names = metrics["metrics"]
    title = ", ".join([f"{metrics['model']} on {metrics['protocol']}", *caveats(metrics)])
    lines = ["", title, *(f"{metrics['definitions'][n]}." for n in names), ""]
    recall = ", ".join(f"{c} {score(r)}" for c, r in metrics["recall"].items())
    several = "seeds" in metrics
    of_classes = [f"recall over seeds: {recall}" if several else f"recall: {recall}"] if recall else []
    lines += [
        _seeds_table(metrics, names) if several else _folds_table(metrics, names),
        *of_classes,
        *narrow_lines(metrics),
        *group_lines(metrics),
        *calibration_lines(metrics),
        *uneven_classes(metrics),
        *near_duplicate_lines(metrics),
    ]
    if "optimistic" in metrics:
        best = ", ".join(f"{short_name(n)} {score(metrics['optimistic']['mean'].get(n))}" for n in names)
        lines.append(f"optimistic (checkpoint chosen on test, never the score): {best}")
    return lines


def narrow_lines(metrics: Mapping[str, Any]) -> list[str]:
    """One line where the intervals are over few units; none else."""
    line = narrow_interval(metrics["interval"]["units"], metrics["interval"]["unit"])
    return [line] if line else []


def group_lines(metrics: Mapping[str, Any]) -> list[str]:
    """One line with the worst group of each kind (speaker, session, gender); none where no kind is known."""
    worst = [
        f"{kind} {printable(group['name'])} {score(group['ua'])} of {plural(group['n'], 'utterance')}"
        for kind, group in metrics.get("worst_groups", {}).items()
    ]
    return [f"lowest UA by group: {'; '.join(worst)}"] if worst else []


def calibration_lines(metrics: Mapping[str, Any]) -> list[str]:
    """One line with the errors of calibration, and one with those after temperature scaling."""
    found = metrics.get("calibration")
    if not found:  # of version 0.1.0
        return []
    lines = [f"calibration: {_calibration_errors(found)}"]
    if "calibrated" in found:
        lines.append(f"with the temperature fitted on validation: {_calibration_errors(found['calibrated'])}")
    return lines


def _calibration_errors(found: Mapping[str, float]) -> str:
    return ", ".join(f"{label} {score(found[name])}" for name, label in CALIBRATION_ERRORS.items())


def _seeds_table(metrics: Mapping[str, Any], names: Sequence[str]) -> str:
    rows = [[f"seed {s}", *_cells(r["mean"], names), _one_class_folds(r)] for s, r in metrics["per_seed"].items()]
    rows.append(["mean ± std over seeds", *_spread(metrics["mean"], metrics["std"], names), ""])
    rows.append(["pooled, mean over seeds", *_spread(metrics["pooled"], metrics["pooled_std"], names), ""])
    if "ensemble" in metrics:
        rows.append(["ensemble of the seeds, pooled", *_cells(metrics["ensemble"]["pooled"], names), ""])
    rows += [[label, *cells, ""] for label, _, cells in _over_all(metrics, names)]
    rows.append([*_interval(metrics, names), ""])
    rows += [[f"{label}: {n}", *cells, ""] for label, n, cells in text_rows(metrics, names)]
    rows += [[label, *_spread(v["mean"], v["std"], names), ""] for label, v in _without(metrics)]
    return format_table(["", *map(short_name, names), ""], rows)


def _folds_table(metrics: Mapping[str, Any], names: Sequence[str]) -> str:
    folds = metrics["folds"]
    rows = [
        [
            *(f"fold {fold['fold']} ({fold['name']})", str(fold["utterances"]["test"]), str(fold["step"])),
            *_cells(fold["test"], names),
            f"predicts one class only: {only}" if (only := fold["predicts_only"]) else "",
        ]
        for fold in folds
    ]
    if len(folds) > 1:
        rows.append(["mean ± std over folds", "", "", *_spread(metrics["mean"], metrics["std"], names), ""])
        total = sum(fold["utterances"]["test"] for fold in folds)
        rows.append(["pooled", str(total), "", *_cells(metrics["pooled"], names), ""])
    rows += [[label, n, "", *cells, ""] for label, n, cells in _over_all(metrics, names)]
    label, *bounds = _interval(metrics, names)
    rows.append([label, "", "", *bounds, ""])
    rows += [[label, str(n), "", *cells, ""] for label, n, cells in text_rows(metrics, names)]
    rows += [[label, "", "", *_spread(v["mean"], v["std"], names), ""] for label, v in _without(metrics)]
    return format_table(["", "n", "step", *map(short_name, names), ""], rows)


def _interval(metrics: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    interval = metrics["interval"]
    inner = f", then {inner}s" if (inner := interval.get("inner_unit")) else ""
    label = f"95 % interval over {plural(interval['units'], interval['unit'])}{inner}"
    return [label, *(f"{interval[n][0]:.3f}-{interval[n][1]:.3f}" if n in interval else "-" for n in names)]


def _over_all(metrics: Mapping[str, Any], names: Sequence[str]) -> list[tuple[str, str, list[str]]]:
    """The label, n and cells of the row that counts utterances without a prediction as wrong, if there are any."""
    found = metrics.get("over_all", {})
    if not found.get("missing"):
        return []
    label = f"over all {found['n']}: {found['missing']} without a feature count as wrong"
    return [(label, str(found["n"]), _cells(found, names))]


def _without(metrics: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(f"{m} absent at inference, mean ± std", values) for m, values in metrics.get("without", {}).items()]


def _one_class_folds(seed: Mapping[str, Any]) -> str:
    folds = seed["one_class_folds"]
    return f"predicts one class only in fold {', '.join(map(str, folds))}" if folds else ""


def _cells(values: Mapping[str, float | None], names: Sequence[str]) -> list[str]:
    return [score(values.get(n)) for n in names]


def _spread(mean: Mapping[str, float | None], deviation: Mapping[str, float | None], names: Sequence[str]) -> list[str]:
    return [spread(mean.get(n), deviation.get(n)) for n in names]
