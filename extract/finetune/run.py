"""One call of `finetune`: the task, its folds, a checkpoint for each, and the folder that `extract --weights` takes."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash

from emofuse.common.console import Say
from emofuse.common.disk import run_folder
from emofuse.common.disk.files import put
from emofuse.common.errors import UsageError
from emofuse.common.progress import Progress as Bar
from emofuse.extract.encoders.base import EncoderOptions
from emofuse.extract.encoders.registry import ENCODERS
from emofuse.extract.finetune.config import FinetuneSettings
from emofuse.extract.finetune.loop import Sides, fit_fold
from emofuse.extract.finetune.network import Classifier
from emofuse.extract.finetune.source import FinetuneSource, sizes_of
from emofuse.extract.finetune.state import FinetuneCheckpoint
from emofuse.extract.finetune.state import FinetuneState as Fitted
from emofuse.extract.plan.finetuned import FORMAT, RESULT, refuse_run
from emofuse.extract.plan.pretraining_overlap import LISTING, listing, pretraining_overlap
from emofuse.manifests.folds import Fold
from emofuse.manifests.protocol import Protocol
from emofuse.manifests.schema import Manifest, Utterance
from emofuse.store.core.fitted_on import declared


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetunePlan:
    """A call of `finetune`, resolved."""

    protocol: Protocol
    manifest: Manifest
    root: Path
    corpus_options: tuple[str, ...]
    """How the corpus was read, as options of `extract`."""
    encoder: str
    options: EncoderOptions
    fitted_on: tuple[Mapping[str, Any], ...] | None
    """What the weights were fitted on before, as the user says; none: as they say themselves."""
    settings: FinetuneSettings
    utterances: tuple[Utterance, ...]
    """Those of the task that the encoder can read."""
    folds: tuple[Fold, ...]
    """The folds asked for."""
    limit: int | None
    quiet: bool = False

    def identity(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """Everything that decides the weights, JSON-ready; `base` is what the encoder says of itself."""
        return {
            "protocol": self.protocol.name,
            "corpus": self.protocol.corpus,
            "encoder": self.encoder,
            "from": dict(base),
            "settings": self.settings.identity(),
            "utterances": len(self.utterances),
            "manifest": replace(self.manifest, utterances=self.utterances).digest(),
            "folds": [f.number for f in self.folds],
            "limit": self.limit,
        }

    def alike(self, base: Mapping[str, Any]) -> str:
        """The same for every fold of runs that differ in which folds they have alone; `base` as in `identity`."""
        rest = {
            key: value for key, value in self.identity(base).items() if key not in ("folds", "utterances", "manifest")
        }
        return xxhash.xxh3_64_hexdigest(json.dumps(rest, sort_keys=True).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneRun:
    """A finished run: where it lies, and its metrics.json."""

    out: Path
    metrics: dict[str, Any]


def finetune(plan: FinetunePlan, out: Path | None, say: Say) -> FinetuneRun:
    """Fit what `out` still lacks.

    Raises:
        UsageError: The encoder's weights, or something else lies at `out`.
        DataError: Damaged weights, clips or state.
    """
    refuse_run(plan.options.weights)
    encoder: Any = ENCODERS[plan.encoder].build(plan.options)
    if plan.fitted_on is not None:
        declared(encoder.provenance()["fitted_on"], plan.fitted_on)
    if not hasattr(encoder, "tuning"):
        raise UsageError(
            f"{plan.options.weights} is a finished graph, which cannot be fitted further; pass torch weights"
        )
    run, stages = plan.identity(encoder.identity()), _stages(plan, len(encoder.tuning().blocks))
    del encoder  # each fold loads its own: two never lie in memory together
    # The names of `extract`'s folders and of `fit`'s: equal settings come to the same one.
    out = out or run_folder.named(Path("runs"), f"finetune-{plan.protocol.name}-{plan.encoder}", run)
    metrics = run_folder.finished(out, run)
    if metrics is not None:
        say(f"already done: {out} holds this very run")
        return FinetuneRun(out=out, metrics=metrics)
    with run_folder.held(out):
        about = {"format": FORMAT, "run": run, "root": str(plan.root), "weights": plan.options.weights}
        part = run_folder.claim(out, about, _call(plan))
        carried = listing(plan.options.weights)
        if carried:
            put(part / LISTING, carried.read_bytes())
        todo = [f for f in plan.folds if not (part / f"fold_{f.number}" / RESULT).exists()]
        if len(todo) < len(plan.folds):
            say(f"{len(plan.folds) - len(todo)} of {len(plan.folds)} folds are done already; going on with the others")
        keepers = {f.number: FinetuneCheckpoint(_made(part / f"fold_{f.number}")) for f in todo}
        for number, keeper in keepers.items():
            if keeper.update:
                say(f"fold {number} goes on from update {keeper.update}")
        updates = {f.number: plan.settings.updates(len(f.train))[0] for f in plan.folds}
        done = sum(updates.values()) - sum(updates[f.number] - keepers[f.number].update for f in todo)
        say(stages)
        with Bar(sum(updates.values()), f"finetune {plan.encoder}", "updates", done, quiet=plan.quiet) as bar:
            for fold in todo:
                _fit(plan, fold, part / f"fold_{fold.number}", keepers[fold.number], bar)
        metrics = _summary(plan, part)
        run_folder.write_json(part / "metrics.json", metrics)
        run_folder.finish(part, out)
    return FinetuneRun(out=out, metrics=metrics)


def _stages(plan: FinetunePlan, blocks: int) -> str:
    total = plan.settings.updates(len(plan.folds[0].train))[0]
    every = plan.settings.stage(total, blocks)
    if not every:
        return f"all {blocks} layers are free from the start"
    reached = min(blocks, 1 + (total - 1) // every)
    short = "" if reached == blocks else f"; {reached} of them within {total} updates"
    return f"{blocks} layers, one more set free every {every} updates, from the last one down{short}"


def _made(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def _call(plan: FinetunePlan) -> dict[str, Any]:
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": platform.node(),
        "device": plan.options.device,
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("emofuse", "torch", "transformers")},
    }


def _fit(plan: FinetunePlan, fold: Fold, target: Path, keeper: FinetuneCheckpoint, bar: Bar) -> None:
    # Loaded anew: no fold may begin with what another one has learned.
    encoder: Any = ENCODERS[plan.encoder].build(plan.options)
    classes = {c: i for i, c in enumerate(plan.protocol.classes)}
    source = FinetuneSource(
        utterances=plan.utterances,
        labels=np.array([classes[plan.protocol.class_of(u) or ""] for u in plan.utterances], np.int64),
        sizes=sizes_of(plan.utterances, encoder.modality),
        root=plan.root,
        sample_rate=encoder.sample_rate,
        max_seconds=plan.settings.max_seconds,
    )
    place = {u.id: i for i, u in enumerate(plan.utterances)}
    train, validation = (np.array([place[u.id] for u in side], np.int64) for side in (fold.train, fold.validation))
    torch.manual_seed(plan.settings.seed)
    model = Classifier(encoder.tuning(), len(classes), plan.settings)
    fitted = fit_fold(
        model,
        source,
        Sides(train=train, validation=validation),
        plan.settings,
        metric=plan.protocol.metrics[0],
        keeper=keeper,
        device=plan.options.device,
        class_weights=_class_weights(plan, source.labels[train]),
        on_update=lambda update, note: bar.advance(1, ", ".join(filter(None, [f"fold {fold.number}", note]))),
    )
    skipped = plan.settings.updates(len(train))[0] - fitted.update
    if skipped:
        bar.advance(skipped)
    run_folder.write_csv(target / "history.csv", [{"fold": fold.number} | row for row in fitted.history])
    model.tuning.save(target, card(plan, fold, encoder.provenance(), plan.alike(encoder.identity())))
    # Last: a fold is done where this lies.
    run_folder.write_json(target / RESULT, _result(plan, fold, fitted))
    keeper.remove()


def card(plan: FinetunePlan, fold: Fold, before: Mapping[str, Any], run: str) -> dict[str, Any]:
    """What a checkpoint says of itself: which utterances it was fitted on, and for which fold.

    The validation side chose when to stop, by its labels: it counts as fitted on, too.

    Args:
        before: The provenance of the encoder that the fold began with.
        run: What all folds of equal settings have in common.
    """
    seen = sorted(u.id for u in (*fold.train, *fold.validation))
    stated = before["fitted_on"]
    if plan.fitted_on is not None:
        stated = declared(stated, plan.fitted_on)
    earlier = [*map(dict, stated), *pretraining_overlap(plan.options.weights, plan.manifest)]
    return {
        "format": FORMAT,
        "encoder": plan.encoder,
        "pretrained_on": before["pretrained_on"],
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
    """Balanced: n / (C n_c), as scikit-learn's; a class without a training utterance weighs nothing."""
    if plan.settings.class_weights == "none":
        return None
    counts = np.bincount(labels, minlength=len(plan.protocol.classes))
    weights = np.divide(len(labels), len(counts) * counts, out=np.zeros(len(counts)), where=counts > 0)
    return torch.from_numpy(weights.astype(np.float32)).to(plan.options.device)


def _result(plan: FinetunePlan, fold: Fold, fitted: Fitted) -> dict[str, Any]:
    return {
        "fold": fold.number,
        "name": fold.name,
        "validated": fold.validated,
        "utterances": {"train": len(fold.train), "validation": len(fold.validation)},
        "update": fitted.best_update,
        "updates": fitted.update,
        "validation": fitted.best_scores,
        "seconds": round(fitted.seconds, 3),
    }


def _summary(plan: FinetunePlan, part: Path) -> dict[str, Any]:
    results = [run_folder.read_json(part / f"fold_{f.number}" / RESULT) for f in plan.folds]
    metric = plan.protocol.metrics[0]
    found = [r["validation"][metric] for r in results]
    return {
        "selected_by": metric,
        "validation": {"mean": float(np.mean(found)), "std": float(np.std(found, ddof=1)) if len(found) > 1 else None},
        "warning": "validation scores, which chose the checkpoints; test sides are scored by `fit` alone",
        "folds": results,
        "wall_seconds": round(sum(r["seconds"] for r in results), 1),
    }
