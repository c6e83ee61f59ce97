"""Options passed from Python: natural forms are converted, and every wrong one is named in one error."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.common.location import Url, parse_location
from emofuse.common.problems import Problems


class CheckedConfig(Protocol):
    """The options of a call, as one record that can check its own values."""

    def check(self, problems: Problems) -> None:
        """Note every value that the command line refuses by itself."""


Config = TypeVar("Config")
Checked = TypeVar("Checked", bound=CheckedConfig)
_LONGEST = 100
_KINDS = {
    str: "text",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    Path: "a path",
    Url: "a URL",
    NoneType: "None",
}


def as_path(value: Any) -> Any:
    """A `Path` for text or a path; another value unchanged."""
    return Path(value) if isinstance(value, str | os.PathLike) else value


def as_tuple(value: Any) -> Any:
    """A tuple for one text or path, or for several values; another value unchanged."""
    if isinstance(value, str | os.PathLike | Url):
        return (value,)
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, bytes | Mapping) else value


def as_locations(value: Any) -> Any:
    """A tuple of paths and URLs for one or several of them; another value unchanged."""
    several = as_tuple(value)
    if not isinstance(several, tuple):
        return value
    return tuple(parse_location(item) if isinstance(item, str) and item else item for item in several)


def as_texts(value: Any) -> Any:
    """Texts for one text or path, or for several; what is neither unchanged."""
    several = as_tuple(value)
    return tuple(str(i) if isinstance(i, Path) else i for i in several) if isinstance(several, tuple) else value


def split_names(value: Any) -> Any:
    """The names in texts such as `ua,wa`; what is neither a text nor several unchanged."""
    items = as_tuple(value)
    if not isinstance(items, tuple) or not all(isinstance(item, str) for item in items):
        return items
    return tuple(stripped for item in items for name in item.split(",") if (stripped := name.strip()))


def as_joined_text(value: Any) -> Any:
    """The text `1,3` for `[1, 3]`, and `1` for the number; another value unchanged."""
    items = (value,) if _fits(value, int) else as_tuple(value)
    joinable = items and isinstance(items, tuple) and all(_fits(item, int | str) for item in items)
    return ",".join(str(item) for item in items) if joinable else value


def checked_config(kind: type[Checked], config: Checked | None, options: Mapping[str, Any], say: object) -> Checked:
    """The config of a call that takes either a config or its fields by name, checked.

    Args:
        kind: The class of the config.
        config: The argument without a name.
        options: The options by name.
        say: What prints a line of the report.

    Raises:
        UsageError: Names every option that is unknown, missing or wrong.
    """
    problems = Problems()
    config = config_of_call(kind, config, options, problems)
    check_say(say, problems)
    config.check(problems)
    problems.raise_all()
    return config


def config_of_call(kind: type[Config], config: Config | None, options: Mapping[str, Any], problems: Problems) -> Config:
    """The config of a call that takes either a config or its fields by name.

    Unknown options are added to `problems`; a missing one is `dataclasses.MISSING`, which `check_values` reports.

    Raises:
        UsageError: Both were passed, or the config is of another type.
    """
    name = kind.__name__
    name = f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
    if config is not None and not isinstance(config, kind):
        raise UsageError(f"the argument without a name is {_shown(config)}, expected {name}; pass options by name")
    if config is not None and options:
        raise UsageError(f"pass {name} or options by name, not both")
    if config is not None:
        return config
    required = {f.name: f.default for f in fields(kind) if f.default is MISSING}  # type: ignore[arg-type]
    valid = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    for option in options:
        if option not in valid:
            with problems.collecting():
                raise UnknownNameError("option", option, valid)
    return kind(**{**required, **{option: value for option, value in options.items() if option in valid}})


def check_values(
    config: Any,
    problems: Problems,
    *,
    expected: Mapping[str, str],
    minimum: Mapping[str, int],
    examples: Mapping[str, str],
) -> set[str]:
    """Add to `problems` every value of a config that does not fit the annotation of its field.

    Args:
        config: A dataclass instance.
        problems: The problems found so far.
        expected: Field -> what to name as expected, where its annotation does not say it well.
        minimum: Field -> its smallest value, for whole numbers.
        examples: Required field -> an example that is shown if the field is missing.

    Returns:
        The names of the fields with wrong values.
    """
    kinds, wrong = get_type_hints(type(config)), set()
    for name in (f.name for f in fields(config)):
        value, kind = getattr(config, name), kinds[name]
        if name in examples and (value is MISSING or (isinstance(value, str) and not value)):
            problems.add(f"option {name!r} is missing, such as {examples[name]}")
        elif not _fits(value, kind) or (name in minimum and value is not None and value < minimum[name]):
            wanted = expected.get(name) or _described(kind, minimum.get(name))
            problems.add(f"{name} is {_shown(value)}, expected {wanted}")
        else:
            continue
        wrong.add(name)
    return wrong


def check_say(say: object, problems: Problems) -> None:
    """Add to `problems` a `say` that cannot be called."""
    if not callable(say):
        problems.add(f"say is {_shown(say)}, expected a function that takes one line of the report")


def _fits(value: object, kind: Any) -> bool:
    origin, members = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, member) for member in members)
    if origin is Literal:
        return isinstance(value, str) and value in members
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, members[0]) for item in value)
    if kind in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, int | float if kind is float else kind)


def _described(kind: Any, minimum: int | None) -> str:
    """Such as `a whole number, 1 or more, or None`."""
    members = list(get_args(kind)) if get_origin(kind) in (Union, UnionType) else [kind]
    names: list[str] = []
    for member in members:
        if get_origin(member) is Literal:
            names += [repr(choice) for choice in get_args(member)]
        elif member is int and minimum is not None:
            names.append(f"a whole number, {minimum} or more" + ("," if len(members) > 1 else ""))
        else:
            names.append(_KINDS.get(member, "a sequence of texts"))
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def _shown(value: object) -> str:
    text = " ".join(repr(value).splitlines())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
