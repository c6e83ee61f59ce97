"""The option `--version` of `emofuse`, `extract` and `fit`."""

from __future__ import annotations

import click

from emofuse.common.output.console import say


def _print_version(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        from emofuse.common.source_version import UNKNOWN, commit, package_version

        known = f" (commit {commit()})" if commit() != UNKNOWN else ""
        say(f"emofuse, version {package_version()}{known}")
        context.exit()


version_option = click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and the commit.",
)
