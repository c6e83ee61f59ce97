"""`--config FILE`: the options of a command from a TOML or JSON file, or from a finished run's config.json."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from emofuse.common.cli.command_line import RecordedCommand
from emofuse.common.errors import EmofuseError, UsageError, fail, nearest, raise_problems
from emofuse.common.output.console import warn

VERSION = 1
"""The version of the files that this emofuse reads, their key `version`; a file without it has version 1."""
_KEY = "emofuse.config_file"
_NEVER = ("config", "help", "version")
"""Options of the command line alone."""


class ConfiguredCommand(RecordedCommand):
    """A click command with the option `--config`; what is given on the command line wins over the file."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the file, parse the arguments, and say which options of the file they replace."""
        try:
            rest = super().parse_args(ctx, args)
        except EmofuseError as error:
            fail(str(error), error.exit_code)
        path, values = ctx.meta.get(_KEY, (None, {}))[:2]
        replaced = sorted(n for n in values if ctx.get_parameter_source(n) is ParameterSource.COMMANDLINE)
        if replaced:
            names = {parameter.name: option for option, parameter in _options(self).items()}
            warn(f"--config {path}: {', '.join(f'--{names[n]}' for n in replaced)} of the command line is used instead")
            ctx.meta[_KEY] = (path, values, None)
        return rest


def _read_into_defaults(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    if path is not None and not context.resilient_parsing:
        values, run = read_config(path, context)
        context.default_map = {**(context.default_map or {}), **values}
        context.meta[_KEY] = (path, values, run)


config_option = click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=_read_into_defaults,
    help="Options in a .toml or .json file, by their names without --; those of the command line win.",
)


def repeated_run() -> dict[str, Any] | None:
    """The settings (`run`) of the run whose config.json this command repeats unchanged; None otherwise."""
    context = click.get_current_context(silent=True)
    run: dict[str, Any] | None = context.meta.get(_KEY, (None, None, None))[2] if context else None
    return run


def read_config(path: Path, context: click.Context) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The options in a file, as the command's parameters, and the settings of the run that the file belongs to, if any.

    Raises:
        UsageError: The file is missing, malformed or newer; or names every unknown key and every wrong value.
    """
    content = _parsed(path)
    run = content.get("run") if isinstance(content.get("calls"), list) else None
    if run is not None:
        content = _options_of_run(path, content, context.command.name or "")
    version = content.pop("version", VERSION)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise UsageError(f"{path}: version is {version!r}, expected a whole number such as {VERSION}")
    if version > VERSION:
        raise UsageError(f"{path} has version {version}, newer than {VERSION}: update emofuse")
    options, values = _options(context.command), {}
    wrong, unknown = [], []
    for key, value in content.items():
        parameter = options.get(key.replace("_", "-"))
        if parameter is None:
            guess = nearest(key.replace("_", "-"), options)
            unknown.append(f"unknown key {key}" + (f"; did you mean {guess}?" if guess else ""))
            continue
        assert parameter.name is not None
        try:
            values[parameter.name] = _converted(parameter, value, context)
        except click.BadParameter as error:
            wrong.append(f"{key}: {error.message}")
    if unknown:  # the many valid keys once, and after what is wrong
        unknown[-1] += f" (valid: {', '.join(sorted(options))})"
    raise_problems([*wrong, *unknown], str(path))
    return values, run


def _options(command: click.Command) -> dict[str, click.Option]:
    """The command's options by their long names without `--`."""
    return {
        name.removeprefix("--"): parameter
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.name not in _NEVER
        for name in parameter.opts
        if name.startswith("--")
    }


def _parsed(path: Path) -> dict[str, Any]:
    if path.suffix not in (".toml", ".json"):
        raise UsageError(f"--config is {path}, expected a file that ends in .toml or .json")
    try:
        text = path.read_bytes().decode()
        content = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--config {path} is not valid {path.suffix[1:].upper()}: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f"--config {path} is a JSON {type(content).__name__}, expected an object of options")
    return content


def _options_of_run(path: Path, content: Mapping[str, Any], command: str) -> dict[str, Any]:
    options = content.get("options")
    if isinstance(options, dict):
        return dict(options)
    typed = content["calls"][0].get("command") if content["calls"] and isinstance(content["calls"][0], dict) else None
    known = f"; its command was: {' '.join(map(str, typed))}" if isinstance(typed, list) else ""
    raise UsageError(f"{path} is of a run that an earlier emofuse made, and has no options for {command}{known}")


def _converted(parameter: click.Option, value: Any, context: click.Context) -> Any:
    """A value as the command line would have given it.

    Raises:
        click.BadParameter: It is of another type, or not a valid one.
    """
    if parameter.is_flag and isinstance(parameter.type, click.types.BoolParamType):
        if not isinstance(value, bool):
            raise click.BadParameter(f"{value!r} is neither true nor false")
        return value
    if isinstance(value, dict) and parameter.multiple:
        value = [f"{key}={_text(item)}" for key, item in value.items()]
    items = value if isinstance(value, list) else [value]
    if any(isinstance(item, list | dict) or item is None for item in items):
        raise click.BadParameter(f"{value!r} is not a value of this option")
    texts = [_text(item) for item in items]
    if not parameter.multiple:
        texts = [",".join(texts)]  # such as folds = [1, 3]
    for text in texts:
        parameter.type(text, parameter, context)
    return texts if parameter.multiple else texts[0]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
