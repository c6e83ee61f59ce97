"""The scores of each fold and of each seed, and what all of them give together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emofuse.common.page.blocks import Cell, Column, Details, Marks, Section, Table
from emofuse.manifests.metrics.scores import definition, mean_and_deviation, short_name
from emofuse.train.runs.page.record import RunRecord
from emofuse.train.runs.reporting.leak_report import text_rows
from emofuse.train.runs.reporting.score_text import score, spread

Row = Sequence[Cell]
Values = Mapping[str, float | None]


def scores_section(record: RunRecord) -> Section:
    """One table of folds; with several seeds, one of seeds, one of folds by seed, and all folds of all seeds."""
    names = record.metrics["metrics"]
    if record.seeds == 1:
        blocks: list[Any] = [_folds_table(record, names)]
    else:
        title = "Every fold of every seed" if record.has_folds else "Steps of every seed"
        every = Details(title=title, blocks=[_every_fold(record, names)])
        blocks = [_seeds_table(record, names), *([_folds_by_seed(record)] if record.has_folds else []), every]
    return Section(name="scores", title="Scores", blocks=blocks)


def _metric_columns(names: Sequence[str]) -> list[Column]:
    return [Column(name=short_name(name), help=definition(name)) for name in names]


def _folds_table(record: RunRecord, names: Sequence[str]) -> Table:
    """One seed: a row for each fold, and the rows of all of them together."""
    metrics, folds = record.metrics, record.folds
    rows = [[f"{f['fold']} ({f['name']})", *_sizes(f), *_cells(f["test"], names), _one_class(f)] for f in folds]
    totals = [[label, n, None, None, *cells, None] for label, n, cells in _totals(record, names)]
    if len(folds) > 1:
        totals.insert(
            0, ["mean ± std over folds", None, None, None, *_spreads(metrics["mean"], metrics["std"], names), None]
        )
    columns = [
        Column(name="fold", help="Its number, and what it tests"),
        Column(name="n", help="Test utterances"),
        Column(name="trained on", help="Utterances of the training side"),
        Column(name="step", help="The selected step"),
        *_metric_columns(names),
        Column(name="remarks"),
    ]
    title = "Scores of each fold" if len(folds) > 1 else "Scores"
    return _table("folds", title, columns, rows, totals)


def _seeds_table(record: RunRecord, names: Sequence[str]) -> Table:
    """Several seeds: a row for each, its mean over folds."""
    metrics = record.metrics
    rows: list[Row] = []
    for seed, found in metrics["per_seed"].items():
        folds = found.get("one_class_folds", ())
        remark = Marks(names=(f"predicts one class only in fold {', '.join(map(str, folds))}",)) if folds else None
        rows.append([f"seed {seed}", None, *_cells(found["mean"], names), remark])
    totals: list[Row] = [["mean ± std over seeds", None, *_spreads(metrics["mean"], metrics["std"], names), None]]
    totals += [[label, n, *cells, None] for label, n, cells in _totals(record, names)]
    columns = [
        Column(name="seed"),
        Column(name="n", help="Test utterances"),
        *_metric_columns(names),
        Column(name="remarks"),
    ]
    title = "Scores of each seed, mean over folds" if record.has_folds else "Scores of each seed"
    return _table("seeds", title, columns, rows, totals)


def _folds_by_seed(record: RunRecord) -> Table:
    """The headline metric of each fold under each seed."""
    name = record.headline_metric
    rows: list[Row] = []
    for number, fold in enumerate(record.folds):
        values = [m["folds"][number]["test"] for m in record.seed_metrics.values()]
        mean, deviation = mean_and_deviation(values)
        cells = [score(v.get(name)) for v in values]
        rows.append(
            [
                f"{fold['fold']} ({fold['name']})",
                fold["utterances"]["test"],
                *cells,
                spread(mean.get(name), deviation.get(name)),
            ]
        )
    seeds = [score(m["mean"].get(name)) for m in record.seed_metrics.values()]
    totals = [
        ["mean over folds", None, *seeds, spread(record.metrics["mean"].get(name), record.metrics["std"].get(name))]
    ]
    columns = [
        Column(name="fold"),
        Column(name="n", help="Test utterances"),
        *(Column(name=f"seed {seed}") for seed in record.seed_metrics),
        Column(name="mean ± std over seeds"),
    ]
    title = f"{short_name(name)} of each fold under each seed"
    return _table("folds-by-seed", title, columns, rows, totals)


def _every_fold(record: RunRecord, names: Sequence[str]) -> Table:
    rows: list[Row] = [
        [f"seed {seed}", f"{f['fold']} ({f['name']})", *_sizes(f), *_cells(f["test"], names), _one_class(f)]
        for seed, metrics in record.seed_metrics.items()
        for f in metrics["folds"]
    ]
    columns = [
        *(Column(name=name) for name in ("seed", "fold", "n", "trained on", "step")),
        *_metric_columns(names),
        Column(name="remarks"),
    ]
    return _table("folds", "Scores of every fold" if record.has_folds else "Scores of every seed", columns, rows)


def _table(name: str, title: str, columns: Sequence[Column], rows: Sequence[Row], totals: Sequence[Row] = ()) -> Table:
    """A table without the columns of which nothing is known."""
    known = [i for i in range(len(columns)) if any(row[i] not in (None, "") for row in (*rows, *totals))]
    return Table(
        name=name,
        title=title,
        columns=[columns[i] for i in known],
        rows=[[row[i] for i in known] for row in rows],
        totals=[[row[i] for i in known] for row in totals],
    )


def _sizes(fold: Mapping[str, Any]) -> list[Cell]:
    return [fold["utterances"]["test"], fold["utterances"].get("train") or None, fold.get("step")]


def _one_class(fold: Mapping[str, Any]) -> Marks | None:
    only = fold.get("predicts_only")
    return Marks(names=(f"predicts one class only: {only}",)) if only else None


def _totals(record: RunRecord, names: Sequence[str]) -> list[tuple[str, int | None, list[str]]]:
    """Label, n and cells of the rows over all folds and seeds."""
    metrics = record.metrics
    several = record.seeds > 1
    found: list[tuple[str, int | None, list[str]]] = []
    if record.has_folds:  # of one fold, the rows above say it
        label = "pooled, mean over seeds" if several else "pooled"
        found.append((label, record.tested, _spreads(metrics["pooled"], metrics.get("pooled_std", {}), names)))
    if "ensemble" in metrics:
        found.append(("ensemble of the seeds, pooled", record.tested, _cells(metrics["ensemble"]["pooled"], names)))
    over_all = metrics.get("over_all", {})
    if over_all.get("missing"):
        label = f"over all {over_all['n']}: {over_all['missing']} without a feature count as wrong"
        found.append((label, over_all["n"], _cells(over_all, names)))
    rows = found
    if interval := metrics.get("interval"):
        bounds = [f"{interval[n][0]:.3f}–{interval[n][1]:.3f}" if n in interval else "-" for n in names]
        rows.append(("95 % interval, pooled" if record.has_folds else "95 % interval", None, bounds))
    rows += text_rows(metrics, names)
    for modality, values in metrics.get("without", {}).items():
        rows.append((f"{modality} absent at inference", None, _spreads(values["mean"], values["std"], names)))
    if optimistic := metrics.get("optimistic"):
        rows.append(("optimistic, never the score: checkpoint chosen on test", None, _cells(optimistic["mean"], names)))
    return rows


def _cells(values: Values, names: Sequence[str]) -> list[str]:
    return [score(values.get(name)) for name in names]


def _spreads(mean: Values, deviation: Values, names: Sequence[str]) -> list[str]:
    return [spread(mean.get(name), deviation.get(name)) for name in names]
