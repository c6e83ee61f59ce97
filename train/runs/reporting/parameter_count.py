"""How many parameters the models of a run have."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from emofuse.common.disk import tensor_file
from emofuse.common.errors import DataError
from emofuse.train.fitting.file_names import STATISTICS, WEIGHTS


def parameter_count(folder: Path, metrics: Mapping[str, Any]) -> int | None:
    """The parameters of the model of a fold: as recorded, or in older runs by its weights.

    None where neither is there, as in an evaluation.
    """
    if metrics.get("parameters"):
        return int(metrics["parameters"])
    first = folder / f"seed_{metrics['seeds'][0]}" if metrics.get("seeds") else folder
    numbers = [int(n) for p in first.glob("fold_*") if (n := p.name.removeprefix("fold_")).isdecimal()]
    if not numbers:
        return None
    try:
        shapes = tensor_file.shapes(first / f"fold_{min(numbers)}" / WEIGHTS)
    except DataError:
        return None
    return sum(prod(shape) for name, shape in shapes.items() if not name.startswith(STATISTICS))
