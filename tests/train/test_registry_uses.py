"""Every registered model in use: fitted, evaluated on another store, with a final model, whatever the padding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import train_samples as samples

from emofuse.store import FeatureData
from emofuse.train import Run, evaluate, fit
from emofuse.train.data.batches import TaskData
from emofuse.train.data.dialogues import by_dialogue
from emofuse.train.data.loader import Loader
from emofuse.train.models.registry import MODELS
from emofuse.train.resolve.config import FitConfig
from emofuse.train.runs.fit_context import resolved
from emofuse.train.runs.trained_models import TrainedModel, trained_models

OURS = samples.utterances(per_session=8, sessions=3)
OTHERS = tuple(replace(u, id=f"other_{u.id}") for u in samples.utterances(per_session=8, sessions=3))


def silent(line: str) -> None:
    pass


def features(of: Any, seed: int, layers: int) -> dict[str, FeatureData]:
    """Audio and text, of an encoder with layers or without."""
    axis = tuple(range(layers))
    audio, text = (samples.frames(of, bit, dimension=size, layers=layers, seed=seed) for bit, size in ((0, 6), (1, 5)))
    return {
        "logmel": FeatureData(modality="audio", arrays=audio, encoder="logmel-smcn", frame_rate=20.0, layers=axis),
        "bert": FeatureData(modality="text", arrays=text, encoder="bert", layers=axis),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("uses")
    samples.protocol_file(made)
    for layers in (0, 3):
        samples.store(made / f"tiny-{layers}.h5", OURS, features=features(OURS, 0, layers))
        samples.store(made / f"other-{layers}.h5", OTHERS, "other", features(OTHERS, 5, layers))
    return made


def config(folder: Path, name: str) -> FitConfig:
    """A fit of two steps on small sizes, of all modalities that the model can read."""
    spec = MODELS[name]
    preset = spec.preset("")
    small = [f"{key}={value}" for key, value in samples.SMALL.items() if hasattr(preset, key)]
    depths = [f"{key}=2" for key in ("encoder_layers", "cross_layers", "self_layers") if getattr(preset, key, 0) > 2]
    modality = {"audio": "logmel"} if "audio" in spec.modalities else {"text": "bert"}
    return samples.config(
        folder,
        f"run-{name}",
        name,
        store=folder / f"tiny-{3 if spec.layered else 0}.h5",
        steps=2,
        settings=(*small, *depths, "batch=8"),
        folds="1,2",
        final=True,
        **({"audio": None} | (modality if spec.needs == "one" else {})),
    )


@pytest.fixture(scope="module", params=MODELS.names())
def used(request: pytest.FixtureRequest, folder: Path) -> tuple[FitConfig, Run]:
    asked = config(folder, request.param)
    return asked, fit(asked, say=silent)


def test_it_is_evaluated_on_another_store_by_the_mean_of_its_folds(used: tuple[FitConfig, Run], folder: Path) -> None:
    asked, run = used
    layers = 3 if MODELS[asked.model].layered else 0
    found = evaluate(
        run=run.folder, store=folder / f"other-{layers}.h5", out=folder / f"on-{asked.model}", device="cpu", say=silent
    )
    rows = samples.rows(found.folder / "predictions.csv")
    assert [row["id"] for row in rows] == [u.id for u in OTHERS]
    assert found.metrics["evaluation"]["model_count"] == 2
    assert all(sum(float(row[f"p_{c}"]) for c in samples.CLASSES) == pytest.approx(1, abs=1e-5) for row in rows)
    assert Run.open(found.folder) == found


def test_its_final_model_is_trained_on_all_data(used: tuple[FitConfig, Run]) -> None:
    _, run = used
    (model,) = trained_models(run, final=True)
    assert (model.fold, run.metrics["final"]["utterances"]) == (None, len(OURS))


def test_probabilities_do_not_depend_on_the_padding_of_the_batch(used: tuple[FitConfig, Run]) -> None:
    asked, run = used
    with resolved(asked) as plan:
        data = Loader(plan).task_data(plan.folds[0])
        everything = np.arange(len(plan.utterances))
        for model in trained_models(run, 1) + trained_models(run, final=True):
            together = model.values(data, everything)[0]
            np.testing.assert_allclose(_one_by_one(model, data), together, atol=1e-5)
            np.testing.assert_allclose(together.sum(1), 1, atol=1e-5)


def _one_by_one(model: TrainedModel, data: TaskData) -> np.ndarray[Any, Any]:
    """Each utterance (of a model with context: each dialogue) in a batch of its own."""
    everything = np.arange(len(data.labels))
    alone = everything[:, None] if data.dialogues is None else by_dialogue(data.dialogues, everything)
    found = np.concatenate([model.values(data, indices)[0] for indices in alone])
    return found[np.argsort(np.concatenate(alone))]
