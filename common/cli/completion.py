"""`emofuse completion`: what a shell needs to complete the commands and options of emofuse."""

from __future__ import annotations

import click

from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import command
from emofuse.common.output.console import HELP_OPTIONS, say

SCRIPTS = ("emofuse", "extract", "fit")
"""The installed scripts; each is completed."""
WHERE = {
    "bash": "~/.local/share/bash-completion/completions/emofuse, or a file that ~/.bashrc sources; bash 4.4 or newer",
    "zsh": "a file that ~/.zshrc sources after `compinit`",
    "fish": "~/.config/fish/conf.d/emofuse.fish",
}


@click.command(context_settings=HELP_OPTIONS)
@click.argument("shell", type=click.Choice(list(WHERE)))
@click.pass_context
@verbosity_options
@command
def completion(context: click.Context, shell: str) -> None:
    """Print the lines that let SHELL complete emofuse, extract and fit; write them where it reads them.

    Example: emofuse completion bash > ~/.emofuse-complete.bash; then source that file in ~/.bashrc
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    main = context.find_root().command
    say(f"# Completion of {', '.join(SCRIPTS)} in {shell}; belongs in {WHERE[shell]}.")
    for script in SCRIPTS:
        variable = f"_{script.upper()}_COMPLETE"
        # click's `source` of bash starts bash to learn its version; the lines are the same in every version.
        lines = made(main, {}, script, variable)
        say((lines.source_template % lines.source_vars()).rstrip())
