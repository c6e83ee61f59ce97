"""Exports a finished run: its model as one file that is checked against PyTorch, model.json and MODEL_CARD.md."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, Unpack, overload

from emofuse.common.disk.files import refuse_unwritable, write_atomically
from emofuse.common.disk.run_folder import run_lock
from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.common.option_values import checked_config
from emofuse.common.output.console import Say, say
from emofuse.common.problems import Problems
from emofuse.train.exporting.card.model_card import model_card
from emofuse.train.exporting.checked_file import Check, write_checked
from emofuse.train.exporting.config import CARD, EMOBOX, ExportConfig, ExportOptions
from emofuse.train.exporting.emobox_predictions import write_predictions
from emofuse.train.exporting.formats.registry import FORMATS, ExportFormat, installed_format
from emofuse.train.fitting.scoring.recorded_target import target_of
from emofuse.train.resolve.dialogues import CONTEXT
from emofuse.train.resolve.speakers import BY_SPEAKER
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.recorded_features import per_fold_names
from emofuse.train.runs.trained_models import TrainedModel, trained_models

MODEL_CARD = "MODEL_CARD.md"
Written = TypeVar("Written")


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What an export has written."""

    folder: Path
    file: Path | None
    """The exported model; None if only the model card or predictions were written."""
    check: Check | None
    """How it was checked against PyTorch."""


@overload
def export(config: ExportConfig, /, *, say: Say = say) -> Export: ...
@overload
def export(*, say: Say = say, **options: Unpack[ExportOptions]) -> Export: ...
def export(config: ExportConfig | None = None, /, *, say: Say = say, **options: Any) -> Export:
    """Export the model of a finished run as one file, with a description and a model card beside it.

    Args:
        config: All options in one record.
        say: Prints a line of the report.
        **options: Or the same options by name, as `ExportConfig` documents them.

    Raises:
        UsageError: Wrong options, a format whose packages are not installed, a model that the format cannot express,
            or an existing folder.
        DataError: A file of the run is damaged, or the exported file gives other numbers than PyTorch.
    """
    config = checked_config(ExportConfig, config, options, say)
    problems = Problems()
    chosen: ExportFormat | None = None
    with problems.collecting():
        if config.format not in (CARD, EMOBOX):
            chosen = _format(config.format)
    with problems.collecting():
        _refuse_existing(config.folder)
    with problems.collecting():
        run = Run.open(config.run)
        if chosen is not None and CONTEXT in run.metrics:
            problems.add(
                f"the model of {run.folder} reads whole dialogues, and an exported file reads single utterances: "
                f"pass --format {CARD}, or export a run of another model"
            )
        _refuse_target(run)
        if chosen is not None and BY_SPEAKER in run.metrics:
            problems.add(
                f"{run.folder} standardises each speaker by all clips of his own (--standardise speaker), which one "
                f"file of a model cannot do: pass --format {CARD}, or export a run without that option"
            )
    problems.raise_all()
    if config.format == EMOBOX:
        with run_lock(config.folder):
            _write_folder(config.folder, lambda folder: write_predictions(run, config.fold, folder), say)
        return Export(folder=config.folder, file=None, check=None)
    models = trained_models(run, config.fold, final=config.refit)
    _refuse_different_inputs(run, models)
    with run_lock(config.folder):
        return _export(run, models, chosen, config.folder, say)


def _format(name: str) -> ExportFormat:
    if name not in FORMATS:
        raise UnknownNameError("export format", name, [*FORMATS.names(), CARD, EMOBOX])
    return installed_format(name)


def _refuse_existing(folder: Path) -> None:
    if folder.exists():
        raise UsageError(f"{folder} already exists: delete it, or give another --out")
    refuse_unwritable(folder)


def _refuse_different_inputs(run: Run, models: Sequence[TrainedModel]) -> None:
    """Refuse what one file cannot read: several features of a modality, or a feature of its own fold for each model."""
    for modality, feature in run.config["run"]["features"].items():
        if "members" in feature:
            raise UsageError(
                f"the {modality} feature {feature['name']!r} is several features, which are aligned in time before a "
                "model reads them, and one file of a model cannot do that: use emofuse predict with the run folder"
            )
        if per_fold_names(feature) and len({m.fold for m in models}) > 1:
            raise UsageError(
                f"the {modality} feature {feature['name']!r} is a separate feature for each fold, so one file cannot "
                "hold the models of all folds: pass --fold"
            )


def _refuse_target(run: Run) -> None:
    """Refuse a run whose outputs are not the probabilities of one class, which an exported model promises."""
    target = target_of(run.metrics)
    if target.kind not in ("classes", "distribution"):
        raise UsageError(
            f"{run.folder} predicts {target.kind}, and an exported model gives the probabilities of one class: use the "
            f"run itself, emofuse predict --run {run.folder} CLIPS"
        )


def _export(run: Run, models: Sequence[TrainedModel], chosen: ExportFormat | None, out: Path, say: Say) -> Export:
    def write(partial: Path) -> Check | None:
        check = None if chosen is None else write_checked(run, models, chosen, partial, say)
        card = model_card(run, models, chosen.file if chosen else None, check)
        write_atomically(partial / MODEL_CARD, card.encode())
        return check

    check = _write_folder(out, write, say)
    return Export(folder=out, file=out / chosen.file if chosen else None, check=check)


def _write_folder(out: Path, write: Callable[[Path], Written], say: Say) -> Written:
    """Write everything into a `.part` folder and rename it; after an error nothing is left."""
    partial = out.with_name(f"{out.name}.part")
    shutil.rmtree(partial, ignore_errors=True)  # of a call that was killed
    partial.mkdir(parents=True)
    try:
        written = write(partial)
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    say(f"exported: {out}")
    return written
