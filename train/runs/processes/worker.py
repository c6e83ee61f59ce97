"""What a process needs to train folds for another one: the same fit, resolved again, as open files cannot be sent."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from emofuse.common.errors import UsageError
from emofuse.common.output.console import warn
from emofuse.train.data.loader import Loader
from emofuse.train.fitting.fold import FitContext
from emofuse.train.resolve.config import FitConfig
from emofuse.train.runs.fit_context import fit_context, resolved


@dataclass(frozen=True, slots=True, kw_only=True)
class _OpenFit:
    key: str
    context: FitContext
    stores: ExitStack


_open_fit: _OpenFit | None = None
"""The last fit of this process; its features stay in memory until another fit is asked for."""


def worker_context(config: FitConfig, identity: dict[str, Any]) -> FitContext:
    """The context of a fit, kept for the next unit of the same fit.

    Args:
        config: The user's, with this process's device.
        identity: Of the plan in the process that asks: this process must resolve to an equal one.

    Raises:
        UsageError: The stores were changed since, or as `resolve` raises.
        DataError: A store is damaged.
    """
    global _open_fit
    key = repr((config, identity))
    if _open_fit is not None and _open_fit.key != key:
        stores, _open_fit = _open_fit.stores, None
        stores.close()
    if _open_fit is None:
        with ExitStack() as stack:
            plan = stack.enter_context(resolved(config))
            if plan.identity() != identity:
                raise UsageError(f"{config.store} was changed during the fit: run the command again")
            context = fit_context(plan, Loader(plan, shared=True, say=warn))
            _open_fit = _OpenFit(key=key, context=context, stores=stack.pop_all())
    return _open_fit.context
