"""A run of `finetune`: one checkpoint for each fold, in a run folder that `extract --weights` accepts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emofuse.common.disk import run_folder
from emofuse.common.disk.files import write_atomically
from emofuse.common.errors import UsageError
from emofuse.common.output.console import Say
from emofuse.common.output.progress import Progress
from emofuse.extract.encoder_training.checkpoint import EncoderCheckpoint
from emofuse.extract.encoder_training.run import TrainingRun, call_record, carry_out
from emofuse.extract.encoders.base import Encoder
from emofuse.extract.encoders.blocks.tuning import Tunable
from emofuse.extract.encoders.registry import ENCODERS
from emofuse.extract.finetune.checkpoint import FinetuneProgress, open_checkpoint
from emofuse.extract.finetune.loop import FinetuneFold, fit_fold
from emofuse.extract.finetune.network import Classifier
from emofuse.extract.finetune.plan import FinetunePlan
from emofuse.extract.finetune.source import FinetuneSource, sizes_of
from emofuse.extract.plan.finetuned_weights import FORMAT, RESULT, refuse_run
from emofuse.extract.plan.pretraining_overlap import LISTING, find_listing, pretraining_overlap
from emofuse.manifests.folds.cross_validation import Fold
from emofuse.store.core.fitted_on import combine_fitted_on


def finetune(plan: FinetunePlan, out: Path | None, say: Say) -> TrainingRun:
    """Fit the folds that `out` does not have yet.

    Args:
        plan: What is fine-tuned on what.
        out: The run folder; None derives its name from the settings.
        say: Reports a line to the user.

    Raises:
        UsageError: The encoder cannot be fitted further, or `out` is something else.
        DataError: Damaged weights, clips or training checkpoints.
    """
    refuse_run(plan.options.weights)
    encoder, tuning = _load(plan)
    if plan.fitted_on is not None:
        combine_fitted_on(encoder.provenance()["fitted_on"], plan.fitted_on)
    if tuning is None:
        raise UsageError(
            f"{plan.options.weights} is a finished graph, which cannot be fitted further; pass torch weights"
        )
    run = plan.identity(encoder.identity())
    schedule = _schedule(plan, len(tuning.tuning().blocks))
    del encoder, tuning  # every fold loads its own encoder; two never share the memory
    # Named as the runs of `extract` and `fit` are: equal settings give the same folder.
    out = out or run_folder.run_path(Path("runs"), f"finetune-{plan.protocol.name}-{plan.encoder}", run)
    config = {"format": FORMAT, "run": run, "root": str(plan.root), "weights": plan.options.weights}
    call = call_record(plan.options.device, ("emofuse", "torch", "transformers"))
    return carry_out(out, config, call, lambda folder: _fit_folds(plan, folder, schedule, say), say)


def _load(plan: FinetunePlan) -> tuple[Encoder, Tunable | None]:
    """The initial encoder, also as a `Tunable`; None where it cannot be fitted further."""
    encoder = ENCODERS[plan.encoder].build(plan.options)
    return encoder, encoder if isinstance(encoder, Tunable) else None


def _schedule(plan: FinetunePlan, blocks: int) -> str:
    """When layers are unfrozen, as a line for the user."""
    total = plan.settings.updates(len(plan.folds[0].train))[0]
    interval = plan.settings.unfreezing_interval(total, blocks)
    if not interval:
        return f"all {blocks} layers are trained from the start"
    reached = min(blocks, 1 + (total - 1) // interval)
    note = "" if reached == blocks else f"; {reached} of them within {total} updates"
    return f"{blocks} layers, one more unfrozen every {interval} updates, from the last one down{note}"


def _fit_folds(plan: FinetunePlan, folder: Path, schedule: str, say: Say) -> dict[str, Any]:
    """Fit the folds without a result in `folder`; returns the run's metrics."""
    pretraining_audio = find_listing(plan.options.weights)
    if pretraining_audio:
        write_atomically(folder / LISTING, pretraining_audio.read_bytes())
    todo = [f for f in plan.folds if not (folder / f"fold_{f.number}" / RESULT).exists()]
    if len(todo) < len(plan.folds):
        say(f"{len(plan.folds) - len(todo)} of {len(plan.folds)} folds are already done; continuing with the others")
    checkpoints = {}
    for fold in todo:
        (folder / f"fold_{fold.number}").mkdir(exist_ok=True)
        checkpoints[fold.number] = open_checkpoint(folder / f"fold_{fold.number}")
        if checkpoints[fold.number].progress.update:
            say(f"fold {fold.number} resumes from update {checkpoints[fold.number].progress.update}")
    updates = {f.number: plan.settings.updates(len(f.train))[0] for f in plan.folds}
    done = sum(updates.values()) - sum(updates[f.number] - checkpoints[f.number].progress.update for f in todo)
    say(schedule)
    with Progress(sum(updates.values()), f"finetune {plan.encoder}", "updates", done, quiet=plan.quiet) as bar:
        for fold in todo:
            _fit(plan, fold, folder / f"fold_{fold.number}", checkpoints[fold.number], bar)
    return _summary(plan, folder)


def _fit(
    plan: FinetunePlan, fold: Fold, folder: Path, checkpoint: EncoderCheckpoint[FinetuneProgress], bar: Progress
) -> None:
    # Loaded for each fold: no fold may start from what another one has learned.
    encoder, tunable = _load(plan)
    assert tunable is not None
    task = _task(plan, fold, encoder)
    torch.manual_seed(plan.settings.seed)
    model = Classifier(tunable.tuning(), len(plan.protocol.classes), plan.settings)

    def on_update(update: int, note: str) -> None:
        bar.advance(1, ", ".join(filter(None, [f"fold {fold.number}", note])))

    progress = fit_fold(model, task, checkpoint, on_update)
    skipped = plan.settings.updates(len(task.train))[0] - progress.update
    if skipped:
        bar.advance(skipped)
    run_folder.write_csv(folder / "history.csv", [{"fold": fold.number} | row for row in progress.history])
    model.tuning.save(folder, card(plan, fold, encoder.provenance(), plan.shared_digest(encoder.identity())))
    # Written last: this file marks a fold as done.
    run_folder.write_json(folder / RESULT, _result(plan, fold, progress))
    checkpoint.remove()


def _task(plan: FinetunePlan, fold: Fold, encoder: Encoder) -> FinetuneFold:
    classes = {c: i for i, c in enumerate(plan.protocol.classes)}
    source = FinetuneSource(
        utterances=plan.utterances,
        labels=np.array([classes[plan.protocol.class_of(u) or ""] for u in plan.utterances], np.int64),
        sizes=sizes_of(plan.utterances, encoder.modality),
        root=plan.root,
        sample_rate=encoder.sample_rate,
        max_seconds=plan.settings.max_seconds,
    )
    index = {u.id: i for i, u in enumerate(plan.utterances)}
    train, validation = (np.array([index[u.id] for u in side], np.int64) for side in (fold.train, fold.validation))
    return FinetuneFold(
        source=source,
        train=train,
        validation=validation,
        settings=plan.settings,
        metric=plan.protocol.metrics[0],
        device=plan.options.device,
        class_weights=_class_weights(plan, source.labels[train]),
    )


def card(plan: FinetunePlan, fold: Fold, initial: Mapping[str, Any], run: str) -> dict[str, Any]:
    """The card of a fold's checkpoint: which utterances it was fitted on, and for which fold.

    The validation side counts as fitted on, because its labels decided when to stop.

    Args:
        plan: The call.
        fold: The fold.
        initial: The provenance of the encoder that the fold started from.
        run: `shared_digest` of the run, equal for all folds that were fine-tuned in the same way.
    """
    seen = sorted(u.id for u in (*fold.train, *fold.validation))
    stated = initial["fitted_on"]
    if plan.fitted_on is not None:
        stated = combine_fitted_on(stated, plan.fitted_on)
    earlier = [*map(dict, stated), *pretraining_overlap(plan.options.weights, plan.manifest)]
    return {
        "format": FORMAT,
        "encoder": plan.encoder,
        "pretrained_on": initial["pretrained_on"],
        "fitted_on": [*earlier, {"corpus": plan.protocol.corpus, "labels": True, "ids": seen}],
        "fold": {
            "number": fold.number,
            "name": fold.name,
            "by": plan.protocol.grouping,
            "validated": fold.validated,
            "protocol": plan.protocol.name,
            "run": run,
        },
    }


def _class_weights(plan: FinetunePlan, labels: Any) -> torch.Tensor | None:
    """Balanced weights [C], n / (C n_c), as in scikit-learn; 0 for a class without training utterances."""
    if plan.settings.class_weights == "none":
        return None
    counts = np.bincount(labels, minlength=len(plan.protocol.classes))
    weights = np.divide(len(labels), len(counts) * counts, out=np.zeros(len(counts)), where=counts > 0)
    return torch.from_numpy(weights.astype(np.float32)).to(plan.options.device)


def _result(plan: FinetunePlan, fold: Fold, progress: FinetuneProgress) -> dict[str, Any]:
    return {
        "fold": fold.number,
        "name": fold.name,
        "validated": fold.validated,
        "utterances": {"train": len(fold.train), "validation": len(fold.validation)},
        "update": progress.best_update,
        "updates": progress.update,
        "validation": progress.best_scores,
        "seconds": round(progress.seconds, 3),
    }


def _summary(plan: FinetunePlan, folder: Path) -> dict[str, Any]:
    results = [run_folder.read_json(folder / f"fold_{f.number}" / RESULT) for f in plan.folds]
    metric = plan.protocol.metrics[0]
    values = [r["validation"][metric] for r in results]
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {
        "selected_by": metric,
        "validation": {"mean": float(np.mean(values)), "std": std},
        "warning": "validation scores, which chose the checkpoints; test sides are scored by `fit` alone",
        "folds": results,
        "wall_seconds": round(sum(r["seconds"] for r in results), 1),
    }
