"""A process that trains folds for another one: it resolves the same fit anew, since open files do not travel."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

from emofuse.common.errors import UsageError
from emofuse.train.data.loader import Loader
from emofuse.train.fitting.fold import FitContext
from emofuse.train.resolve.config import FitConfig


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Worker:
    """Resolves a fit when it is first needed, and keeps it.

    Args:
        config: As the user's, with this process's device.
        identity: What the fit must come to: the other process's.
    """

    def __init__(self, config: FitConfig, identity: dict[str, Any]) -> None:
        self.config, self.identity = config, identity
        self._work: FitContext | None = None
        self._stack = ExitStack()

    def work(self) -> FitContext:
        """The fit's work.

        Raises:
            UsageError, DataError: As `resolve` does, or the stores have changed.
        """
        if self._work is None:
            from emofuse.train.runs.run import prepared, resolved

            plan = self._stack.enter_context(resolved(self.config))
            if plan.identity() != self.identity:
                raise UsageError(f"{self.config.store} was changed while it was being fitted: run the command again")
            self._work = prepared(plan, Loader(plan, shared=True, say=_say))
        return self._work

    def close(self) -> None:
        """Let go of the stores."""
        self._work = None
        self._stack.close()


_LAST: dict[str, Worker] = {}


def work_of(config: FitConfig, identity: dict[str, Any]) -> FitContext:
    """A fit's work, as `Worker.work` gives it; a process keeps that of the last fit alone.

    Raises:
        UsageError, DataError: As `Worker.work` does.
    """
    asked = repr((config, identity))
    if asked not in _LAST:
        for other in _LAST.values():
            other.close()
        _LAST.clear()
        _LAST[asked] = Worker(config, identity)
    return _LAST[asked].work()
