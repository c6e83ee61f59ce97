"""Runs with chosen predictions, written without training: what a comparison page reads of them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emofuse.common.disk import run_folder
from emofuse.train.comparison.inputs.run_predictions import RunPredictions
from emofuse.train.runs.finished_run import Run

PROTOCOL = {
    "name": "tiny4",
    "corpus": "tiny",
    "source": "made for the tests",
    "fold_by": "speaker",
    "fold_groups": [],
    "disjoint": ["speaker"],
    "metrics": ["ua", "wa", "wf1"],
    "joint": None,
    "fold_parts": 0,
}


def predicted_run(
    folder: Path,
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    classes: Sequence[str],
    speakers: Sequence[str],
    *,
    probabilities: bool = True,
) -> RunPredictions:
    """A run folder and its predictions [S, n] of labels [n]; each speaker is a fold. A negative one is missing."""
    folder.mkdir(parents=True)
    seeds, ids = tuple(range(len(predictions))), tuple(f"u{i:05d}" for i in range(len(labels)))
    folds = np.array([sorted(set(speakers)).index(s) + 1 for s in speakers])
    metrics = {"model": folder.name, "protocol": "tiny4", "classes": list(classes), "folds": []}
    metrics |= {"seeds": list(seeds)} if len(seeds) > 1 else {"seed": 0}
    for seed in seeds if len(seeds) > 1 else ():
        (folder / f"seed_{seed}").mkdir()
        run_folder.write_json(folder / f"seed_{seed}" / "metrics.json", {"seed": seed, "folds": []})
    run_folder.write_json(folder / "metrics.json", metrics)
    run_folder.write_json(folder / "config.json", {"run": {"protocol": PROTOCOL, "features": {}, "settings": {}}})
    with (folder / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        names = [f"p_{c}" for c in classes] if probabilities else []
        writer.writerow([*(["seed"] if len(seeds) > 1 else []), "id", "fold", "label", "prediction", *names])
        for seed, of_seed in zip(seeds, predictions, strict=True):
            for i, predicted in enumerate(of_seed):
                if predicted >= 0:
                    values = [f"{0.9 if c == predicted else 0.1:.6f}" for c in range(len(names))]
                    start = [seed] if len(seeds) > 1 else []
                    writer.writerow([*start, ids[i], folds[i], classes[labels[i]], classes[predicted], *values])
    with (folder / "utterances.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "speaker", "session", "dialogue", "split", "gender"])
        writer.writerows([id, speaker, "", "", "", ""] for id, speaker in zip(ids, speakers, strict=True))
    return RunPredictions(
        run=Run(folder=folder, metrics=metrics), classes=tuple(classes), seeds=seeds, ids=ids, labels=labels,
        predictions=predictions, folds=folds,
    )  # fmt: skip
