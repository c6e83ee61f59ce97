"""An exported run on every test utterance: ONNX Runtime against predictions.csv, labels and probabilities.

    python benchmarks/export_onnx_check.py --run runs/meld7-text-0123abcd --store cache/meld.h5

Exports each fold of a run of one seed, reads the features of its test side from the store, and needs nothing else of
emofuse's training code for the predictions.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from emofuse.store import FeatureStore
from emofuse.train import Run, export

BATCH = 64
Row = dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    options = parser.parse_args()
    run = Run.open(options.run)
    if "seeds" in run.metrics:
        parser.error("the run has several seeds, which an export averages: pass a run of one")
    classes, features = run.metrics["classes"], run.config["run"]["features"]
    utterances = equal = 0
    largest = 0.0
    with tempfile.TemporaryDirectory() as folder, FeatureStore(options.store) as store:
        for fold in run.config["run"]["folds"]:
            file = export(run=run, format="onnx", fold=fold, out=Path(folder) / str(fold), say=print).file
            session = onnxruntime.InferenceSession(file)
            for rows in batches(test_rows(options.run, fold)):
                (found,) = session.run(None, inputs(store, features, rows))
                recorded = np.array([[float(row[f"p_{c}"]) for c in classes] for row in rows])
                largest = max(largest, float(np.abs(found - recorded).max()))
                labels = [classes[i] for i in found.argmax(1)]
                equal += sum(label == row["prediction"] for label, row in zip(labels, rows, strict=True))
                utterances += len(rows)
    print(f"{equal} of {utterances} labels are equal; the largest difference of a probability is {largest:.1e}")
    print("predictions.csv has six decimals, so a difference of 5e-07 is rounding")


def test_rows(folder: Path, fold: int) -> list[Row]:
    """The predictions of one fold."""
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["fold"] == str(fold)]


def batches(rows: list[Row]) -> Iterator[list[Row]]:
    """Batches in the order of the file, so of mixed lengths."""
    for first in range(0, len(rows), BATCH):
        yield rows[first : first + BATCH]


def inputs(store: FeatureStore, features: dict[str, Any], rows: Sequence[Row]) -> dict[str, NDArray[Any]]:
    """The inputs of the graph: padded features and lengths."""
    found: dict[str, NDArray[Any]] = {}
    for modality, feature in features.items():
        values = [store[feature["name"]][row["id"]] for row in rows]
        lengths = np.array([len(v) for v in values])
        padded = np.zeros((len(rows), lengths.max(), *values[0].shape[1:]), np.float32)
        for row, value in zip(padded, values, strict=True):
            row[: len(value)] = value
        found |= {modality: padded, f"{modality}_lengths": lengths}
    return found


if __name__ == "__main__":
    main()
