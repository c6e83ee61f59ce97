"""Completion in a shell of names that a registry knows, such as `--model smc` and the Tab key."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

Completion = Callable[["click.Context", "click.Parameter", str], "list[CompletionItem]"]
"""What click's `shell_complete=` takes."""


def complete_names(names: Callable[[], Iterable[str]]) -> Completion:
    """Complete one of the names, or else a file.

    Args:
        names: Gives the names; called only when a shell asks, so it may import.
    """

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name) for name in names() if name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]

    return complete
