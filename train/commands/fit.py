"""The command `fit`: options -> one `FitConfig` -> one library call -> exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from emofuse.common.cli.complete_names import complete_names
from emofuse.common.cli.config_file import ConfiguredCommand, config_option, repeated_run
from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.cli.version_option import version_option
from emofuse.common.errors import DONE, EXCLUDED, UsageError, command
from emofuse.common.location import LocationType
from emofuse.common.output.console import HELP_OPTIONS, say
from emofuse.common.output.verbosity import stage
from emofuse.train.commands.options import (
    AugmentedType,
    JobsType,
    allow_duplicates_option,
    allow_missing_option,
    device_option,
    folds_option,
    scheduler_option,
    threads_option,
)

# Written out so that --help needs no torch; a test compares it with the registry.
MODELS = (
    "mmrbn, smcn, mcfn, msmser, coattention; cme, ks-transformer, gban, a-lstm, if-mmin, mult, lmf, tfn; "
    "dialogue-gru, dialoguernn; concat, audio, text, linear, weighted-layers. `emofuse models` describes them."
)


def _models() -> list[str]:
    from emofuse.train.models.listing.model_list import listed_rows

    return [row.name for row in listed_rows()]


def _protocols() -> list[str]:
    from emofuse.manifests.protocol_files import names

    return names()


def _at_most_one(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> str | None:
    if len(values) > 1:
        names = " and ".join(values)
        raise click.BadParameter(
            f"fit trains one, not {names}: run the command once for each, or a table of them with `emofuse reproduce`"
        )
    return values[0] if values else None


def _one_or_several(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> str | tuple[str, ...] | None:
    return values if len(values) > 1 else values[0] if values else None


@click.command(cls=ConfiguredCommand, context_settings={**HELP_OPTIONS, "show_default": True})
@config_option
@click.option(
    "--store",
    "stores",
    required=True,
    multiple=True,
    type=LocationType(),
    help="The store to train on, a file or a URL; repeat it for a protocol over several corpora.",
)
@click.option("--test-store", type=LocationType(), help="The store of a corpus that is used for testing only.")
@click.option(
    "--model", required=True, multiple=True, callback=_at_most_one, shell_complete=complete_names(_models), help=MODELS
)
@click.option(
    "--ablation",
    multiple=True,
    callback=_at_most_one,
    help="A variant from the model's paper; `emofuse models NAME` lists them.",
)
@click.option(
    "--protocol",
    shell_complete=complete_names(_protocols),
    help="A built-in protocol or a TOML file.  [default: the corpus's default protocol]",
)
@click.option(
    "--audio",
    multiple=True,
    callback=_one_or_several,
    help="The audio feature; repeat it to combine several.  [default: the model's default one, or the only one in the "
    "store]",
)
@click.option("--text", multiple=True, callback=_one_or_several, help="The text feature or features, as --audio.")
@click.option(
    "--layers",
    type=click.Choice(["none", "weighted"]),
    default="none",
    help="Put a learned weighted sum over the encoder's layers in front of the model; for features with all layers.",
)
@click.option(
    "--combine",
    type=click.Choice(["concatenate", "gated"]),
    default="concatenate",
    help="How several features of a modality become one: end to end, or by learned gates.",
)
@folds_option
@click.option("--steps", type=click.IntRange(min=1), help="Training steps per fold.  [default: the model's preset]")
@click.option(
    "--epochs", type=click.FloatRange(min=0, min_open=True), help="Passes over the training side, instead of --steps."
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A hyper-parameter; can be repeated.")
@click.option(
    "--augmented",
    type=AugmentedType(),
    is_flag=False,
    flag_value="all",
    metavar="[N]",
    help="Also train on N augmented copies of each training utterance (`extract --augment`), or on all.",
)
@click.option(
    "--class-weights",
    type=click.Choice(["none", "balanced"]),
    default="none",
    help="Weights of the classes in the loss.",
)
@click.option(
    "--standardise",
    type=click.Choice(["training", "speaker"]),
    default="training",
    help="Standardise features by the fold's training side, or each speaker by all clips of his own, without labels; "
    "every output says so.",
)
@click.option(
    "--metrics",
    multiple=True,
    metavar="NAME,...",
    help="Metrics in tables: wa, ua, wf1, macro_f1, micro_f1, mcc, auroc, speaker_wa, speaker_ua.  "
    "[default: the protocol's]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="On one machine, equal seeds give equal numbers.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, help="Number of seeds, starting at --seed.")
@click.option(
    "--select",
    type=click.Choice(["validation", "last"]),
    default="validation",
    help="Test the weights that are best on a validation group, or those of the last step, trained without validation.",
)
@click.option(
    "--final",
    is_flag=True,
    help="After cross-validation, also train one model on all data, for use; a finished run gets it too.",
)
@click.option(
    "--ensemble",
    is_flag=True,
    help="With several seeds, also score the mean of their probabilities; a finished run gets it too.",
)
@click.option("--optimism", is_flag=True, help="Also report the score that choosing the checkpoint on test would give.")
@click.option(
    "--keep-checkpoints",
    is_flag=True,
    help="With --optimism, keep the weights of every evaluation step instead of removing them when they are scored.",
)
@click.option(
    "--calibrate",
    type=click.Choice(["none", "temperature"]),
    default="none",
    help="Fit a temperature of the probabilities on each fold's validation side.",
)
@click.option(
    "--score-without",
    multiple=True,
    type=click.Choice(["audio", "text"]),
    help="Also score test without this modality, where the model allows it; can be repeated.",
)
@click.option(
    "--shuffle",
    multiple=True,
    type=click.Choice(["labels", "audio", "text"]),
    help="A sanity run: permute the labels of training and validation (the score must be at chance), or deal a "
    "modality to other utterances (the score must be the other modality's); can be repeated.",
)
@click.option(
    "--search", "space", type=click.Path(path_type=Path), help="Search hyper-parameters in this TOML file's space."
)
@click.option("--trials", type=click.IntRange(min=1), help="Total number of trials of a search.  [default: 20]")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="At most this many utterances, spread over folds and classes.",
)
@allow_missing_option
@allow_duplicates_option
@device_option
@click.option(
    "--precision",
    type=click.Choice(["fp32", "tf32", "bf16"]),
    default="fp32",
    help="Precision of matrix products in training steps; with bf16, validation and test stay in fp32.",
)
@click.option("--jobs", type=JobsType(), default="auto", help="Processes that train folds and seeds in parallel.")
@scheduler_option
@threads_option
@click.option(
    "--track",
    multiple=True,
    metavar="NAME",
    help="Also write the finished run to tensorboard, mlflow or wandb; can be repeated, and added to a finished run.",
)
@click.option("--out", type=click.Path(path_type=Path), help="The run folder.  [default: runs/PROTOCOL-MODEL-DIGEST]")
@click.option(
    "--report/--no-report",
    default=True,
    help="Write report.html and confusion.png; `emofuse report` writes the page later, too.",
)
@version_option
@verbosity_options
@command
def fit(stores: tuple[Path, ...], space: Path | None, trials: int | None, **options: Any) -> None:
    """Train and cross-validate a fusion model on the features of a store; the results are in a run folder.

    Example: fit --store cache/iemocap.h5 --model smcn
    """
    from emofuse.common.system.allocator import use_large_pages

    use_large_pages()
    with stage("loading libraries"):
        from emofuse.train.api import fit as run_fit
        from emofuse.train.resolve.config import FitConfig

    config = FitConfig(store=stores[0], more_stores=stores[1:], **options)
    if space is not None:
        from emofuse.train.search.search import search

        result = search(config, space, trials or 20, say=say)
        sys.exit(EXCLUDED if result.excluded else DONE)
    if trials is not None:
        raise UsageError("--trials has no effect without --search SPACE.toml")
    if (run := repeated_run()) is not None:
        from emofuse.train.resolve.repeated import refuse_other_run
        from emofuse.train.runs.fit_context import resolved

        with resolved(config) as plan:
            refuse_other_run(plan.identity(), run)
    finished = run_fit(config, say=say)
    sys.exit(EXCLUDED if finished.excluded else DONE)


def main() -> None:
    """The script `fit`."""
    fit()


if __name__ == "__main__":
    main()
