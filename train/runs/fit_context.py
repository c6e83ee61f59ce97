"""From a `FitConfig` to everything that training needs, in this process or in a worker."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from emofuse.common.output.console import Say
from emofuse.common.output.verbosity import stage
from emofuse.train.data.loader import Loader
from emofuse.train.fitting.fold import FitContext
from emofuse.train.fitting.model_file import ModelRecipe
from emofuse.train.fitting.step import set_product_precision
from emofuse.train.models.base import Inputs
from emofuse.train.models.front import Front
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.features.combined_feature import CombinedFeature
from emofuse.train.resolve.features.joined_store import open_stores
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.resolve.make_plan import resolve
from emofuse.train.runs.reporting import console_report


@contextmanager
def resolved(config: FitConfig) -> Iterator[FitPlan]:
    """The plan of a fit, with its stores open.

    Raises:
        UsageError: Everything that is wrong with the options and the stores.
        DataError: A store is damaged.
    """
    with ExitStack() as stack:
        with stage("opening stores and checking the task"):
            plan = resolve(stack.enter_context(open_stores(config)), config)
        yield plan


def fit_context(plan: FitPlan, loader: Loader, say: Say = lambda line: None) -> FitContext:
    """What training needs besides the unit to train; sets torch up for the plan's device."""
    recipe = model_recipe(plan)
    with torch.device("meta"):  # takes no memory
        parameters = sum(p.numel() for p in recipe.build().parameters())
    if plan.device.type == "cuda":
        set_product_precision(plan.config.precision)
        # cuBLAS reads this when it starts; without it equal seeds may give unequal sums.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    header = console_report.header(plan, parameters)
    return FitContext(plan=plan, recipe=recipe, loader=loader, header=header, parameters=parameters, say=say)


def model_recipe(plan: FitPlan) -> ModelRecipe:
    """How the plan's model is built for its features."""
    pooled_sizes = 2 if plan.spec.pool == "mean+deviation" else 1
    fronts = {
        m: Front(
            parts=tuple((layers, dimension * pooled_sizes) for layers, dimension in f.parts),
            gated=len(f.parts) > 1 and plan.config.combine == "gated",
        )
        for m, f in plan.features.items()
        if isinstance(f, CombinedFeature)
    }
    dimensions = {m: f.dimension * pooled_sizes for m, f in plan.features.items()}
    dimensions |= {m: front.dimension for m, front in fronts.items()}
    inputs = Inputs(
        audio=dimensions.get("audio"),
        text=dimensions.get("text"),
        layers=max(len(f.layers) if m not in fronts else 0 for m, f in plan.features.items()),
        classes=plan.protocol.target.outputs,
    )
    return ModelRecipe(
        model=plan.model,
        settings=plan.settings,
        inputs=inputs,
        classes=plan.protocol.target.output_names,
        fronts=fronts,
        declared_target=plan.protocol.declared_target,
    )
