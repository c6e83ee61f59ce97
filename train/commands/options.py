"""Words of the command line that `fit` and `reproduce` share."""

from __future__ import annotations

import click


class JobsType(click.ParamType):  # type: ignore[type-arg] # generic from click 8.4 on
    """How many processes: a number, or `auto` (none) for as many as pay."""

    name = "jobs"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """A number from 1, or none."""
        if value == "auto":
            return None
        if not value.isdecimal() or int(value) < 1:
            self.fail(f"{value!r} is neither auto nor a number from 1 on", param, ctx)
        return int(value)
