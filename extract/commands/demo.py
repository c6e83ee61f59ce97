"""`emofuse demo`: both stages on a small synthetic corpus, compared with the best scores that are possible on it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from emofuse.common.cli.verbosity_options import verbosity_options
from emofuse.common.errors import command
from emofuse.common.output.console import HELP_OPTIONS, format_table, say
from emofuse.common.output.progress import format_duration
from emofuse.common.output.verbosity import Verbosity, verbosity
from emofuse.common.umbrella import load_command

STEPS = 250
LEARNING_RATE = 1e-3
BAND = (0.90, 0.97)
"""The UA that the default options reach on any processor; README.md promises the same."""

_FLAGS = {Verbosity.QUIET: ["--quiet"], Verbosity.NORMAL: [], Verbosity.VERBOSE: ["--verbose"]}


@click.command(context_settings=HELP_OPTIONS)
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="The folder for everything."
)
@click.option("--steps", type=click.IntRange(min=1), default=STEPS, show_default=True, help="Training steps per fold.")
@click.option("--seed", type=int, default=0, show_default=True)
@verbosity_options
@command
def demo(out: Path, steps: int, seed: int) -> None:
    """Make a synthetic corpus, extract two features, fit SMCN and compare with the best possible scores.

    Nothing is downloaded. The voices are synthetic: the score shows that the pipeline works, not how good a model is.
    """
    from emofuse.datasets.synthetic import best_scores, write_synthetic

    started, flags = time.monotonic(), _FLAGS[verbosity()]
    corpus, store, run = out / "corpus", out / "synthetic.h5", out / f"run-{time.strftime('%Y%m%d-%H%M%S')}"
    if not (corpus / "synthetic.csv").exists():
        say(f"writing the synthetic corpus to {corpus}")
        write_synthetic(corpus)
    _run("extract", "--dataset", "synthetic", "--root", str(corpus), "--encoder", "logmel", "--encoder", "hashed",
         "--store", str(store), *flags)  # fmt: skip
    _run("fit", "--store", str(store), "--model", "smcn", "--text", "hashed", "--steps", str(steps),
         "--seed", str(seed), "--threads", "1", "--set", f"lr={LEARNING_RATE}", "--out", str(run), *flags)  # fmt: skip
    score = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["mean"]["ua"]
    best = best_scores()
    say("\nUA, leave one session out, and the best that is possible on this corpus (by construction):")
    say(
        format_table(
            ("", "UA"),
            [
                ("audio alone, at best", f"{best['audio']:.3f}"),
                ("text alone, at best", f"{best['text']:.3f}"),
                ("both, at best", f"{best['both']:.3f}"),
                ("SMCN, here", f"{score:.3f}"),
            ],
        )
    )
    low, high = BAND if steps == STEPS else (max(best["audio"], best["text"]), best["both"] + 0.02)
    say(f"expected band: {low:.2f} to {high:.2f}; done in {format_duration(time.monotonic() - started)}")
    if not low < score <= high:
        sys.exit("error: the score is outside the expected band: something does not work as it should")


def _run(name: str, *arguments: str) -> None:
    say(f"\n$ {name} {' '.join(arguments)}")
    try:
        load_command(name).main(args=list(arguments), prog_name=name, standalone_mode=False)
    except SystemExit as exit:
        if exit.code:
            raise
