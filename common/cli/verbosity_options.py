"""The options `--quiet` and `--verbose`, which every command has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import click

from emofuse.common.output.verbosity import Verbosity, set_verbosity

LEVELS = {"quiet": Verbosity.QUIET, "verbose": Verbosity.VERBOSE}
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def _set(context: click.Context, parameter: click.Parameter, given: bool) -> None:
    """Called for both options of every command; when it has ended, the level is the normal one again."""
    if __name__ not in context.meta:
        context.meta[__name__] = set()
        context.call_on_close(partial(set_verbosity, Verbosity.NORMAL))
    chosen = context.meta[__name__]
    if given:
        chosen.add(parameter.name)
    if len(chosen) == 2:
        set_verbosity(Verbosity.NORMAL)
        raise click.UsageError("--quiet and --verbose contradict each other: give one of the two")
    set_verbosity(LEVELS[next(iter(chosen))] if chosen else Verbosity.NORMAL)


def verbosity_options(function: Decorated) -> Decorated:
    """Add both options to a command; they are no parameters of its function."""
    for name, text in (
        ("--verbose", "Also print the seconds of each step."),
        ("--quiet", "Print results, warnings and errors only: no progress."),
    ):
        function = click.option(name, is_flag=True, expose_value=False, callback=_set, help=text)(function)
    return function
