"""A small synthetic corpus with a store and runs on it, for the tests of `predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from train_samples import rows, shrunk  # also limits torch to one thread

from emofuse.datasets.synthetic import write_synthetic
from emofuse.extract import extract
from emofuse.predict import Prediction, Predictions, predict
from emofuse.train import Run, fit
from emofuse.train.models.config import settings_of
from emofuse.train.models.registry import MODELS

UTTERANCES = 40


def quiet(line: str) -> None:
    """Say nothing."""


def corpus(folder: Path) -> Path:
    """`corpus/` and `store.h5` with features `logmel`, `logmel-mcfn` and `hashed`; gives the folder."""
    write_synthetic(folder / "corpus", utterances=UTTERANCES)
    extract(
        dataset="synthetic",
        root=folder / "corpus",
        encoders=["logmel", "logmel-mcfn", "hashed"],
        store=folder / "store.h5",
        quiet=True,
        say=quiet,
    ).close()
    return folder


def run(folder: Path, name: str, model: str, **options: Any) -> Run:
    """A short fit of a small model on two folds of the corpus; its folder is `folder / name`."""
    spec = MODELS[model]
    preset = spec.preset("synthetic")
    settings = settings_of(shrunk(preset), spec.modalities)
    changed = {k: v for k, v in settings.items() if v != getattr(preset, k)}
    audio = spec.features.get("audio", "")
    names = {"audio": audio if audio.startswith("logmel") else "logmel", "text": "hashed"}
    features = {m: names[m] for m in spec.modalities}
    defaults: dict[str, Any] = {
        "model": model,
        "store": folder / "store.h5",
        "steps": 6,
        "settings": changed,
        "folds": [1, 2],
        "allow_missing": 1920,
        "device": "cpu",
        "out": folder / name,
        "report": False,
        **(features if spec.needs != "one" else {"audio": "logmel"}),
    }
    return fit(say=quiet, **(defaults | options))


def asked(run: Run, **options: Any) -> Predictions:
    """`predict` on a CPU without output."""
    return predict(run=run.folder, device="cpu", quiet=True, say=quiet, **options)


def by_id(predictions: Predictions) -> dict[str, Prediction]:
    """The predictions by id."""
    return {p.id: p for p in predictions.rows}


def scored(run: Run, fold: int) -> dict[str, dict[str, float]]:
    """Id -> class -> probability, from the predictions.csv of a run, of one fold's test side."""
    table = [row for row in rows(run.folder / "predictions.csv") if row["fold"] == str(fold)]
    return {r["id"]: {k.removeprefix("p_"): float(v) for k, v in r.items() if k.startswith("p_")} for r in table}
