"""Writes the exported file and checks it: what its own runtime gives must be what the trained models give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from emofuse.common.disk.run_folder import write_json
from emofuse.common.errors import DataError, EmofuseError, UsageError
from emofuse.common.output.console import Say, format_size, plural
from emofuse.train.exporting.check_batches import CheckBatches, check_batches
from emofuse.train.exporting.description import describe
from emofuse.train.exporting.exported_model import ExportedMember, ExportedModel
from emofuse.train.exporting.formats.registry import FORMATS, ExportFormat
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.trained_models import TrainedModel, mean_values

LARGEST_DIFFERENCE = 1e-4
"""By how much a probability may differ from PyTorch's."""
DESCRIPTION = "model.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """How an exported file was checked."""

    difference: float
    """The largest difference of a probability from PyTorch's."""
    features: str
    """The features on which that was measured: the run's, or random ones."""


def write_checked(run: Run, models: Sequence[TrainedModel], chosen: ExportFormat, folder: Path, say: Say) -> Check:
    """Write the model and its description into a folder, and check the file against PyTorch.

    Raises:
        UsageError: The format cannot express the model.
        DataError: The file gives other numbers than PyTorch.
    """
    exported = ExportedModel([ExportedMember(m.model, m.recipe, m.statistics, m.temperature) for m in models]).eval()
    batches, about = check_batches(run, models[0].recipe), describe(run, models, exported)
    path = folder / chosen.file
    say(f"{chosen.file}: {described(models)}")  # before the work, which takes a minute for many large models
    _write(chosen, path, exported, batches.inputs(batches.batches[0]), about)
    write_json(folder / DESCRIPTION, about)
    difference = _largest_difference(chosen, path, models, batches)
    count = plural(sum(len(batch) for batch in batches.batches), "utterance")
    say(f"written: {format_size(path.stat().st_size)}")
    say(f"checked against PyTorch on {count} in {len(batches.batches)} batches, {batches.source}")
    say(f"largest difference of a probability: {difference:.1e}")
    if not difference <= LARGEST_DIFFERENCE:
        raise DataError(
            f"{chosen.file} differs from PyTorch by {difference:.1e}, expected at most {LARGEST_DIFFERENCE:g}; nothing "
            "was written: try another --format"
        )
    return Check(difference=difference, features=batches.kind)


def _write(
    chosen: ExportFormat, path: Path, exported: ExportedModel, example: Sequence[Tensor], about: Mapping[str, Any]
) -> None:
    try:
        chosen.write(path, exported, example, about)
    except (EmofuseError, OSError, MemoryError):
        raise
    except Exception as error:  # exporters raise anything where they do not know an operation
        reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"
        others = ", ".join(name for name in FORMATS.names() if FORMATS[name] is not chosen)
        raise UsageError(
            f"model {about['recipe']['model']!r} cannot be written as {chosen.file} ({reason}); try --format {others}"
        ) from error


def described(models: Sequence[TrainedModel]) -> str:
    """Which models a file holds, in words."""
    if len(models) == 1:
        (model,) = models
        return f"the final model, seed {model.seed}" if model.fold is None else f"fold {model.fold}, seed {model.seed}"
    folds, seeds = (len({getattr(m, name) for m in models}) for name in ("fold", "seed"))
    return f"the mean of {len(models)} models ({plural(folds, 'fold')}, {plural(seeds, 'seed')})"


def _largest_difference(
    chosen: ExportFormat, path: Path, models: Sequence[TrainedModel], batches: CheckBatches
) -> float:
    """Over all probabilities of all batches, calibrated ones too; NaN if the file gives one."""
    run_file, largest = chosen.open(path), 0.0
    for batch in batches.batches:
        outputs = run_file(batches.inputs(batch))
        kinds = mean_values(models, batches.loaded, batch, calibrated=len(outputs) > 1)
        for found, expected in zip(outputs, kinds, strict=True):
            largest = float(np.maximum(largest, np.abs(found - expected).max()))
    return largest
