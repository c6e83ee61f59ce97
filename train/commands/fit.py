"""The command `fit`: options -> one `FitConfig` -> one library call -> an exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from emofuse.common.console import say
from emofuse.common.errors import DONE, EXCLUDED, UsageError, command
from emofuse.common.location import LocationType
from emofuse.train.commands.options import JobsType

# Written out, so that --help needs no torch; a test compares it with the registry.
MODELS = (
    "mmrbn, smcn, mcfn, msmser, coattention; cme, ks-transformer, mult, lmf, tfn; concat, audio, text, linear, "
    "weighted-layers. `emofuse models` says more."
)


def _one(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> str | None:
    if len(given) > 1:
        raise click.BadParameter(
            f"a fit trains one, not {' and '.join(given)}: give the command for each, or `emofuse reproduce` a table"
        )
    return given[0] if given else None


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option(
    "--store",
    "stores",
    required=True,
    multiple=True,
    type=LocationType(),
    help="The store to fit from, a file or a URL; several times for a protocol that joins corpora.",
)
@click.option("--test-store", type=LocationType(), help="The store of a corpus that is only tested on.")
@click.option("--model", required=True, multiple=True, callback=_one, help=MODELS)
@click.option(
    "--ablation",
    multiple=True,
    callback=_one,
    help="A variant that the model's paper names; `emofuse models NAME` lists them.",
)
@click.option("--protocol", help="The task, or a TOML file of one's own.  [default: the usual one for the stores]")
@click.option("--audio", help="The audio feature.  [default: the model's usual one, or the only one]")
@click.option("--text", help="The text feature.  [default: likewise]")
@click.option("--folds", default="all", help="all, or numbers such as 1,3.")
@click.option("--steps", type=click.IntRange(min=1), help="Training steps per fold.  [default: the model's preset]")
@click.option("--epochs", type=click.FloatRange(min=0, min_open=True), help="Passes over the training side instead.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A hyper-parameter; several times.")
@click.option("--class-weights", type=click.Choice(["none", "balanced"]), default="none", help="Weights in the loss.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Same seed, same machine: same numbers.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, help="How many seeds, from --seed on.")
@click.option(
    "--select",
    type=click.Choice(["validation", "last"]),
    default="validation",
    help="Best on the next group in turn, or the last step with that group back in training.",
)
@click.option("--optimism", is_flag=True, help="Say afterwards what choosing the checkpoint on test would have given.")
@click.option(
    "--score-without",
    multiple=True,
    type=click.Choice(["audio", "text"]),
    help="Score test also with this modality absent, where the model allows it.",
)
@click.option("--search", "space", type=click.Path(path_type=Path), help="Search the space of a TOML file instead.")
@click.option("--trials", type=click.IntRange(min=1), help="How many trials a search has in all.  [default: 20]")
@click.option("--limit", type=click.IntRange(min=1), help="So many utterances at most, evenly over folds and classes.")
@click.option("--allow-missing", type=click.IntRange(min=0), default=0, help="Go on if counts are off by at most this.")
@click.option("--device", default="auto", help="auto, cpu or cuda:0.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "tf32", "bf16"]),
    default="fp32",
    help="Of the products in training steps; bf16 leaves looks and test in fp32.",
)
@click.option("--jobs", type=JobsType(), default="auto", help="Processes that train folds and seeds side by side.")
@click.option("--scheduler", metavar="ADDRESS", help="Have the workers of a Dask cluster train: tcp://HOST:8786.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of each.  [default: the cores, shared out]")
@click.option("--out", type=click.Path(path_type=Path), help="The run folder.  [default: runs/PROTOCOL-MODEL-DIGEST]")
@command
def fit(stores: tuple[Path, ...], space: Path | None, trials: int | None, **options: Any) -> None:
    """Fit a fusion model from a store, cross-validate it, and leave a run folder.

    Example: fit --store cache/iemocap.h5 --model smcn
    """
    from emofuse.common.system.allocator import use_large_pages

    use_large_pages()
    from emofuse.train.resolve.config import FitConfig
    from emofuse.train.runs.run import fit as run

    config = FitConfig(store=stores[0], more_stores=stores[1:], **options)
    if space is not None:
        from emofuse.train.search.search import search

        found = search(config, space, trials or 20, say=say)
        sys.exit(EXCLUDED if found.excluded else DONE)
    if trials is not None:
        raise UsageError("--trials has no effect without --search SPACE.toml")
    finished = run(config, say=say)
    sys.exit(EXCLUDED if finished.excluded else DONE)


def main() -> None:
    """The script `fit`."""
    fit()


if __name__ == "__main__":
    main()
