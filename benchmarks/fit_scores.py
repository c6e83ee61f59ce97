"""Scores of a whole cross-validation, ours beside the plain loop, over some seeds; from any store.

    python benchmarks/fit_scores.py --store cache/emodb.h5 --model audio --audio logmel --steps 300 --seeds 3
    python benchmarks/fit_scores.py --store cache/meld.h5 --model text --text minilm --steps 1000 --seeds 3

The plain loop: random batches, padded to a fixed length, `nn.GRU`, unfused Adam, one fold after the other. Both
select on validation and score the test side once, by the same functions.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emofuse.manifests.metrics.scores import scores
from emofuse.train.data.batches import Batch, TaskData
from emofuse.train.data.loader import Loader
from emofuse.train.data.ragged import Indices
from emofuse.train.fitting import loop
from emofuse.train.fitting.fold import side_indices
from emofuse.train.fitting.step import Stepper
from emofuse.train.models.blocks import layers
from emofuse.train.resolve.config import FitConfig
from emofuse.train.runs.fit_context import model_recipe, resolved


class Padded(TaskData):
    """The same corpus in random batches, each padded to the longest utterance of all."""

    def training_batches(self, indices: Indices, size: int, generator: np.random.Generator) -> Iterator[Indices]:
        size = min(size, len(indices))
        while True:
            order = generator.permutation(indices)
            yield from order[: len(order) // size * size].reshape(-1, size)

    def batch(self, indices: Indices) -> Batch:
        found = super().batch(indices)
        inputs: list[Any] = list(found.inputs)
        for at, modality in ((0, "audio"), (2, "text")):
            if inputs[at] is not None:
                more = int(self.modalities[modality].lengths.max()) - inputs[at].shape[1]
                inputs[at] = torch.nn.functional.pad(inputs[at], (0, 0, 0, more))
        return Batch(inputs=(inputs[0], inputs[1], inputs[2], inputs[3]), labels=found.labels)


class PlainStepper(Stepper):
    """Default Adam."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        rate = self.optimiser.param_groups[0]["lr"]
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=rate)


def plain_recurrence(x: torch.Tensor, lengths: torch.Tensor, grus: Sequence[layers.BiGRU]) -> list[torch.Tensor]:
    return [gru.forward_torch(x, lengths) for gru in grus]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--audio")
    parser.add_argument("--text")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--allow-missing", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    options = parser.parse_args()
    config = FitConfig(
        store=options.store, model=options.model, audio=options.audio, text=options.text, steps=options.steps,
        device="cpu", allow_missing=options.allow_missing,
    )  # fmt: skip
    found: dict[str, Any] = {"store": options.store.name, "model": options.model, "steps": options.steps}
    with resolved(config) as plan:
        found |= {"protocol": plan.protocol.name, "folds": len(plan.folds), "seeds": options.seeds}
        for kind in ("ours", "plain"):
            started = time.monotonic()
            each = [cross_validated(plan, seed, plain=kind == "plain") for seed in range(options.seeds)]
            found[kind] = {
                name: f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f} over seeds"
                for name in ("ua", "wa", "wf1")
                for values in [[score[name] for score in each]]
            } | {"seconds": round(time.monotonic() - started, 1)}
            print(kind, found[kind], file=sys.stderr, flush=True)
    print(json.dumps(found, indent=2, ensure_ascii=False))
    if options.out:
        options.out.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def cross_validated(plan: Any, seed: int, *, plain: bool) -> dict[str, float]:
    """Scores of all folds' test predictions pooled."""
    if plain:
        loop.Stepper = PlainStepper  # type: ignore[misc]
        layers.run_bigrus = plain_recurrence  # type: ignore[assignment]
    recipe, loader = model_recipe(plan), Loader(plan)
    labels: list[int] = []
    guesses: list[int] = []
    for fold in plan.folds:
        train, validation, test = side_indices(plan, fold).values()
        corpus = loader.task_data(fold)
        if plain:
            corpus = Padded(modalities=corpus.modalities, labels=corpus.labels, standardised=corpus.standardised)
        fitted = corpus.with_statistics_of(train)
        done = loop.train(
            loop.TrainingJob(
                recipe=recipe,
                data=fitted,
                training=train,
                validation=validation,
                metric=plan.protocol.metrics[0],
                seed=seed,
            )
        )
        guesses += loop.predict(done.model, fitted, test)[0].argmax(1).tolist()
        labels += plan.labels[test].tolist()
    return scores(np.array(labels), np.array(guesses))


if __name__ == "__main__":
    main()
