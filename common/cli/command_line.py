"""How the work that runs now was asked for, as a command or from Python, for the records of what it writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import MISSING, fields
from typing import Any

import click

from emofuse.common.redaction import redacted

_KEY = "emofuse.command_line"
_python_call: ContextVar[dict[str, Any] | None] = ContextVar("python_call", default=None)


class RecordedCommand(click.Command):
    """A click command that remembers its arguments as they were typed, without credentials."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember the arguments, then parse them."""
        ctx.meta[_KEY] = [self.name or "", *map(_text, args)]
        return super().parse_args(ctx, args)


@contextmanager
def python_call(function: str, config: Any) -> Iterator[None]:
    """Within the context, `command_line` gives a call of a function with its options, unless a command runs it.

    Args:
        function: Its name.
        config: A dataclass of its options; those that differ from their defaults are recorded.
    """
    values = {f.name: getattr(config, f.name) for f in fields(config) if getattr(config, f.name) != f.default}
    token = _python_call.set({function: {name: _json_ready(v) for name, v in values.items() if v is not MISSING}})
    try:
        yield
    finally:
        _python_call.reset(token)


def _json_ready(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_json_ready(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else _text(str(value))


def _text(typed: str) -> str:
    # Bytes that are not UTF-8 arrive as lone surrogates, which JSON files cannot hold.
    return redacted(typed.encode(errors="surrogateescape").decode(errors="replace"))


def command_line() -> list[str] | dict[str, Any] | None:
    """What runs: a command as it was typed, `["fit", "--store", "a.h5"]`, or a call, `{"fit": {"store": "a.h5"}}`.

    None if it is neither.
    """
    context = click.get_current_context(silent=True)
    typed: list[str] | None = context.meta.get(_KEY) if context is not None else None
    return typed or _python_call.get()
