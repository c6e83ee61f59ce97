"""`emofuse`: all commands under one name. The module of a command is imported only when that command runs."""

from __future__ import annotations

import importlib

import click

from emofuse.common.cli.command_group import CommandGroup
from emofuse.common.cli.version_option import version_option
from emofuse.common.output.console import HELP_OPTIONS

# Strings, not imports: this package imports no other emofuse package, and `emofuse --help` must answer at once.
COMMANDS = {
    "extract": (
        "emofuse.extract.commands.extract:extract",
        "Run frozen encoders over a corpus and write a feature store.",
    ),
    "pretrain": (
        "emofuse.extract.commands.pretrain:pretrain",
        "Pretrain an encoder on a folder of audio, without labels.",
    ),
    "finetune": ("emofuse.extract.commands.finetune:finetune", "Fine-tune an encoder on labels, fold by fold."),
    "fit": ("emofuse.train.commands.fit:fit", "Train a fusion model on a store and cross-validate it."),
    "evaluate": ("emofuse.train.commands.evaluate:evaluate", "Test a finished run on another store, without training."),
    "predict": ("emofuse.predict.commands.predict:predict", "Ask a finished run about new recordings."),
    "compare": (
        "emofuse.train.commands.compare:compare",
        "Test whether finished runs differ beyond chance.",
    ),
    "stack": (
        "emofuse.train.commands.stack:stack",
        "Combine finished runs by a logistic regression that is fitted on validation.",
    ),
    "report": (
        "emofuse.report.commands.report:report",
        "Show a finished run, or a folder of runs, as a page for a browser.",
    ),
    "models": ("emofuse.train.commands.models:models", "List the models that `fit` trains, with size and cost."),
    "encoders": (
        "emofuse.extract.commands.encoders:encoders",
        "List the encoders that `extract` runs, with size, licence and weights.",
    ),
    "get-weights": (
        "emofuse.extract.commands.get_weights:get_weights",
        "Say what brings an encoder's weights here, or download them.",
    ),
    "verify": ("emofuse.train.commands.verify:verify", "Check finished runs: files, scores and weights."),
    "reproduce": (
        "emofuse.train.commands.reproduce:reproduce",
        "Reproduce a published table: our values beside theirs.",
    ),
    "export": (
        "emofuse.train.commands.export:export",
        "Export a finished run's model: ONNX, TorchScript or safetensors, and a model card.",
    ),
    "store": ("emofuse.store.commands.store:store", "Inspect, verify, edit, merge and convert stores."),
    "manifest": (
        "emofuse.extract.commands.manifest:manifest",
        "Read a corpus: counts, hours, and excluded items with reasons.",
    ),
    "doctor": (
        "emofuse.extract.commands.doctor:doctor",
        "Check this machine: packages, device, disk, weights, corpora, stores.",
    ),
    "completion": (
        "emofuse.common.cli.completion:completion",
        "Print what bash, zsh or fish needs to complete commands and options.",
    ),
    "help": (
        "emofuse.common.cli.help_pages:help_command",
        "Read a page of the documentation, such as `help protocols`.",
    ),
    "demo": ("emofuse.extract.commands.demo:demo", "Run both stages on a small synthetic corpus."),
}
MEANT = {
    **dict.fromkeys(("train", "run", "cross-validate"), "fit"),
    **dict.fromkeys(("test", "score", "eval"), "evaluate"),
    **dict.fromkeys(("infer", "inference", "classify", "ask", "transcribe"), "predict"),
    **dict.fromkeys(("check", "validate"), "verify"),
    **dict.fromkeys(("features", "embed", "encode"), "extract"),
    **dict.fromkeys(("corpus", "corpora", "datasets", "dataset", "count"), "manifest --list"),
    **dict.fromkeys(("protocols", "tasks", "docs"), "help"),
    **dict.fromkeys(("tables", "papers", "paper"), "reproduce --list"),
    **dict.fromkeys(("html", "page", "plot", "show-run", "leaderboard", "results"), "report"),
    **dict.fromkeys(("convert", "onnx", "torchscript"), "export"),
    **{
        verb: f"store {verb}" for verb in ("info", "ls", "show", "diff", "card", "merge", "copy", "rm", "repack", "add")
    },
    **{"import": "store import", "explore": "store explore", "list": "store ls", "delete": "store rm"},
    **dict.fromkeys(("weights", "download", "checkpoint"), "get-weights"),
    "encoder": "encoders",
    **dict.fromkeys(("diagnose", "env", "environment", "health"), "doctor"),
    "tune": "finetune",
    "search": "fit --search",
}
"""Words that are no command -> the command that has this meaning."""


class LazyGroup(CommandGroup):
    """A click group that imports a command when it is called."""

    meant = MEANT

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order of a project."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        try:
            return load_command(cmd_name)
        except ModuleNotFoundError as error:
            if error.name and error.name.startswith("emofuse"):
                raise
            raise click.ClickException(
                f"`emofuse {cmd_name}` needs {error.name}: pip install 'emofuse[extract]'"
            ) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


def load_command(name: str) -> click.Command:
    """Import a command by its name."""
    module, attribute = COMMANDS[name][0].split(":")
    command = getattr(importlib.import_module(module), attribute)
    assert isinstance(command, click.Command)
    return command


@click.command(cls=LazyGroup, context_settings=HELP_OPTIONS)
@version_option
def main() -> None:
    """Multimodal speech emotion recognition: extract features once, train many fusion models."""


if __name__ == "__main__":
    main()
