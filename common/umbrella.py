"""`emofuse`: every verb under one command. A verb's module is imported only when that verb is called."""

from __future__ import annotations

import importlib

import click

from emofuse.common.errors import UnknownNameError, fail

# Strings, not imports: this room imports nothing of ours, and `emofuse --help` must answer at once.
VERBS = {
    "extract": ("emofuse.extract.commands.extract:extract", "Run frozen encoders over a corpus, once, into a store."),
    "pretrain": ("emofuse.extract.commands.pretrain:pretrain", "Fit an encoder to a folder of audio, without labels."),
    "finetune": ("emofuse.extract.commands.finetune:finetune", "Fit an encoder's weights further, fold by fold."),
    "fit": ("emofuse.train.commands.fit:fit", "Fit a fusion model from a store and cross-validate it."),
    "models": ("emofuse.train.commands.models:models", "List the models that fit knows, with their size and cost."),
    "reproduce": ("emofuse.train.commands.reproduce:reproduce", "Run a published table; print ours beside theirs."),
    "store": ("emofuse.store.commands.store:store", "Look into a store and verify it."),
    "manifest": (
        "emofuse.extract.commands.manifest:manifest",
        "Read a corpus: counts, hours, what is excluded and why.",
    ),
    "demo": ("emofuse.extract.commands.demo:demo", "The whole way on a small corpus that emofuse makes itself."),
}


class LazyGroup(click.Group):
    """A click group that imports a verb when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order of the work."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        if cmd_name not in VERBS:
            return None
        try:
            return verb(cmd_name)
        except ModuleNotFoundError as error:
            if error.name and error.name.startswith("emofuse"):
                raise
            raise click.ClickException(
                f"`emofuse {cmd_name}` needs {error.name}: pip install 'emofuse[extract]'"
            ) from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; an unknown one lists all and the nearest."""
        if args and not args[0].startswith("-") and args[0] not in VERBS:
            error = UnknownNameError("verb", args[0], VERBS)
            fail(str(error), error.exit_code)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in VERBS.items()])


def verb(name: str) -> click.Command:
    """The command behind a verb, imported now."""
    module, attribute = VERBS[name][0].split(":")
    found = getattr(importlib.import_module(module), attribute)
    assert isinstance(found, click.Command)
    return found


@click.command(cls=LazyGroup)
@click.version_option(package_name="emofuse")
def main() -> None:
    """Multimodal speech emotion recognition: extract features once, fit many fusion models."""


if __name__ == "__main__":
    main()
