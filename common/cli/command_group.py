"""A group of commands that answers an unknown name with the valid ones and the command that was probably meant."""

from __future__ import annotations

from collections.abc import Mapping

import click

from emofuse.common.errors import UnknownNameError, fail, nearest


class CommandGroup(click.Group):
    """A click group; `meant` maps words that are no command here to the command that has this meaning."""

    meant: Mapping[str, str] = {}

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an unknown one lists the valid ones and the closest."""
        valid = self.list_commands(ctx)
        if args and not args[0].startswith("-") and args[0] not in valid:
            word = nearest(args[0].lower(), [*valid, *self.meant]) or ""
            error = UnknownNameError("command", args[0], valid, guess=self.meant.get(word, word))
            fail(str(error), error.exit_code)
        return super().resolve_command(ctx, args)
