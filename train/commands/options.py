"""Options that `fit` and `reproduce` share."""

from __future__ import annotations

import click


class JobsType(click.ParamType):  # type: ignore[type-arg] # generic from click 8.4 on
    """A number of processes, or `auto` (None) for as many as save time."""

    name = "jobs"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """A number from 1, or None."""
        if value == "auto":
            return None
        if not value.isdecimal() or int(value) < 1:
            self.fail(f"{value!r} is neither auto nor a number from 1", param, ctx)
        return int(value)


class AugmentedType(click.ParamType):  # type: ignore[type-arg]
    """A number of augmented copies, or `all`."""

    name = "augmented"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """A number from 1, or `all`."""
        if value == "all":
            return value
        if not value.isdecimal() or int(value) < 1:
            self.fail(f"{value!r} is neither all nor a number from 1", param, ctx)
        return int(value)


folds_option = click.option("--folds", default="all", help="Which folds to train: all, or numbers such as 1,3.")
allow_missing_option = click.option(
    "--allow-missing",
    type=click.IntRange(min=0),
    default=0,
    help="Continue where counts differ from the protocol's by at most this.",
)
allow_duplicates_option = click.option(
    "--allow-duplicates",
    is_flag=True,
    help="Continue where test and training share the same audio; every output says so.",
)
device_option = click.option("--device", default="auto", help="auto, cpu or cuda:0.")
scheduler_option = click.option(
    "--scheduler", metavar="ADDRESS", help="Train on the workers of a Dask cluster, such as tcp://HOST:8786."
)
threads_option = click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads per process.  [default: all cores, shared]"
)
