"""`emofuse demo`: the whole way on a small corpus that emofuse makes itself, beside its best possible score."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from emofuse.common.console import say, table
from emofuse.common.errors import command
from emofuse.common.progress import clock
from emofuse.common.umbrella import verb

STEPS = 250
LEARNING_RATE = 1e-3


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="Where all of it lands."
)
@click.option("--steps", type=click.IntRange(min=1), default=STEPS, show_default=True, help="Training steps per fold.")
@click.option("--seed", type=int, default=0, show_default=True)
@command
def demo(out: Path, steps: int, seed: int) -> None:
    """Make a synthetic corpus, extract two features, fit SMCN and compare with the best possible scores.

    Nothing is downloaded. The voices are synthetic: the score says that the pipeline works, not how good a model is.
    """
    from emofuse.datasets.synthetic import best_scores, write_synthetic

    started = time.monotonic()
    corpus, store, run = out / "corpus", out / "synthetic.h5", out / f"run-{time.strftime('%Y%m%d-%H%M%S')}"
    if not (corpus / "synthetic.csv").exists():
        say(f"writing the synthetic corpus to {corpus}")
        write_synthetic(corpus)
    _run("extract", "--dataset", "synthetic", "--root", str(corpus), "--encoder", "logmel", "--encoder", "hashed",
         "--store", str(store))  # fmt: skip
    _run("fit", "--store", str(store), "--model", "smcn", "--text", "hashed", "--steps", str(steps),
         "--seed", str(seed), "--threads", "1", "--set", f"lr={LEARNING_RATE}", "--out", str(run))  # fmt: skip
    reached = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["mean"]["ua"]
    best = best_scores()
    say("\nUA, leave one session out, beside the best that is possible on this corpus (by construction):")
    say(
        table(
            ("", "UA"),
            [
                ("audio alone, at best", f"{best['audio']:.3f}"),
                ("text alone, at best", f"{best['text']:.3f}"),
                ("both, at best", f"{best['both']:.3f}"),
                ("SMCN, here", f"{reached:.3f}"),
            ],
        )
    )
    alone = max(best["audio"], best["text"])
    say(f"expected band: {alone:.3f} to {best['both']:.3f}; done in {clock(time.monotonic() - started)}")
    if not alone < reached <= best["both"] + 0.02:
        sys.exit("error: the score lies outside the expected band: something does not work as it should")


def _run(name: str, *arguments: str) -> None:
    say(f"\n$ {name} {' '.join(arguments)}")
    try:
        verb(name).main(args=list(arguments), prog_name=name, standalone_mode=False)
    except SystemExit as done:
        if done.code:
            raise
