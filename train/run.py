"""One call of `fit`: resolve, load, cross-validate, and leave a run folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from emofuse.common import folder
from emofuse.train import summary
from emofuse.train.checkpoint import Recipe
from emofuse.train.config import FitConfig
from emofuse.train.crossval import cross_validate, over_seeds
from emofuse.train.fold import Say, Work
from emofuse.train.join import open_stores
from emofuse.train.load import Loader
from emofuse.train.models.base import Inputs
from emofuse.train.plan import Plan, resolve
from emofuse.train.step import set_products


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A finished fit: where it lies, its metrics.json, and what was left out."""

    out: Path
    metrics: dict[str, Any]
    excluded: tuple[str, ...]


@contextmanager
def resolved(config: FitConfig) -> Iterator[Plan]:
    """The plan of a call, its stores open.

    Raises:
        UsageError: Everything about the options and the stores that stands in the way.
        DataError: A store is damaged.
    """
    with open_stores(config) as store:
        yield resolve(store, config)


def fit(config: FitConfig, say: Say = print) -> Finished:
    """Fit a model from its stores and cross-validate it; what is finished already is only told again.

    Raises:
        UsageError: Something about the options, the store's contents or an existing folder.
        DataError: The store is damaged.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    with resolved(config) as plan:
        run = plan.identity() | {"seeds": config.seeds}
        out = config.out or folder.named(config.runs, f"{plan.protocol.name}-{run['model']}", run)
        metrics = folder.finished(out, run)
        if metrics is not None:
            say(f"already done: {out} holds this very run")
        else:
            with folder.held(out):
                part = folder.claim(out, plan.record(run), plan.call())
                metrics = _fit(plan, part, say)
                folder.finish(part, out)
    for line in summary.closing(plan, metrics):
        say(line)
    say(f"run: {out}")
    return Finished(out=out, metrics=metrics, excluded=tuple(plan.task.excluded))


def _fit(plan: Plan, part: Path, say: Say) -> dict[str, Any]:
    work = prepared(plan, Loader(plan, say=say), say)
    for line in work.header:
        say(line)
    return (cross_validate if plan.config.seeds == 1 else over_seeds)(work, part)


def prepared(plan: Plan, loader: Loader, say: Say = lambda line: None) -> Work:
    """What training needs of a plan; torch is set up for its device."""
    recipe = recipe_of(plan)
    with torch.device("meta"):
        count = sum(p.numel() for p in recipe.build().parameters())
    if plan.device.type == "cuda":
        set_products(plan.config.precision)
        # cuBLAS reads this when it starts; without it equal seeds may give unequal sums.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    return Work(plan=plan, recipe=recipe, loader=loader, header=summary.header(plan, count), say=say)


def recipe_of(plan: Plan) -> Recipe:
    """How the plan's model is built for its features."""
    width = {m: f.dimension * (2 if plan.spec.pool == "mean+deviation" else 1) for m, f in plan.features.items()}
    layers = {len(f.layers) for f in plan.features.values()}
    inputs = Inputs(
        audio=width.get("audio"), text=width.get("text"), layers=max(layers), classes=len(plan.protocol.classes)
    )
    return Recipe(model=plan.model, settings=plan.settings, inputs=inputs, classes=plan.protocol.classes)
