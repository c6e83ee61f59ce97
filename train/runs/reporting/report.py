"""report.html (one file that needs no other) and confusion.png; both need the extra `report`."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emofuse.common.disk.files import write_atomically
from emofuse.manifests.metrics import short_name
from emofuse.train.runs.reporting.caveats import caveats
from emofuse.train.runs.reporting.console_report import calibration_lines, group_lines
from emofuse.train.runs.reporting.leak_report import near_duplicate_lines, text_rows, uneven_classes
from emofuse.train.runs.reporting.score_text import score

MAX_LEGEND = 12
"""The legend of a plot with more lines than this is omitted: the colours would be indistinguishable."""
REPORT_FILES = ("report.html", "confusion.png")
HINT = "report.html and confusion.png were not written: install what they need with pip install 'emofuse[report]'"


def write_report(
    folder: Path,
    header: Sequence[str],
    metrics: Mapping[str, Any],
    config: Mapping[str, Any],
    history: Sequence[Mapping[str, str]],
) -> bool:
    """Write both files into a run folder; False, and nothing written, if a package is missing (see `HINT`)."""
    try:
        from jinja2 import Environment, FileSystemLoader
        from matplotlib.figure import Figure
    except ImportError:
        return False
    confusion = _confusion(Figure, metrics)
    write_atomically(folder / "confusion.png", confusion)
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    environment.filters["score"] = score
    page = environment.get_template("report.html").render(
        header=[(line[:9].strip(), line[10:]) for line in header],
        metrics=metrics,
        caveats=caveats(metrics),
        texts=text_rows(metrics, metrics["metrics"]),
        uneven=uneven_classes(metrics),
        remarks=[*group_lines(metrics), *calibration_lines(metrics), *near_duplicate_lines(metrics)],
        names={n: short_name(n) for n in metrics["metrics"]},
        config=json.dumps(config, indent=2, ensure_ascii=False),
        confusion=_inline(confusion),
        history=_inline(_history(Figure, history)) if history else None,
    )
    write_atomically(folder / "report.html", page.encode())
    return True


def _inline(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def _confusion(figure_type: Any, metrics: Mapping[str, Any]) -> bytes:
    """The confusion matrix as a picture, PNG."""
    counts, classes = np.array(metrics["confusion"]), metrics["classes"]
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = 1.5 + 0.8 * len(classes)
    figure = figure_type(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", parse_math=False)
    axes.set_yticks(range(len(classes)), classes, parse_math=False)
    axes.set_xlabel("prediction")
    axes.set_ylabel("label")
    for (i, j), value in np.ndenumerate(share):
        colour = "white" if value > 0.5 else "black"
        axes.text(j, i, f"{counts[i, j]}\n{value:.0%}", ha="center", va="center", color=colour, fontsize=8)
    return _png(figure)


def _history(figure_type: Any, history: Sequence[Mapping[str, str]]) -> bytes:
    """Training and validation loss by step, PNG; one colour for each fold and seed."""
    figure = figure_type(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    trainings: dict[str, list[Mapping[str, str]]] = {}
    for row in history:
        trainings.setdefault(" ".join(f"{key} {row[key]}" for key in ("seed", "fold") if key in row), []).append(row)
    for name, rows in trainings.items():
        steps = [int(row["step"]) for row in rows]
        (line,) = axes.plot(steps, [float(row["train_loss"]) for row in rows], "--", linewidth=1)
        if rows[0].get("validation_loss"):
            losses = [float(row["validation_loss"]) for row in rows]
            axes.plot(steps, losses, color=line.get_color(), label=name)
    axes.set_xlabel("step")
    axes.set_ylabel("loss (dashed: training)")
    if 0 < len(axes.get_legend_handles_labels()[0]) <= MAX_LEGEND:
        axes.legend(fontsize=7)
    return _png(figure)
