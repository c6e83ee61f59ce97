"""Runs with weighted layers or several features: trained, recorded, checked, evaluated; and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import train_samples as samples

from emofuse.common.errors import UsageError
from emofuse.store import FeatureData, FeatureStore
from emofuse.train import evaluate, export, verify_run
from emofuse.train.data.loader import Loader
from emofuse.train.resolve.make_plan import resolve
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.fit_context import model_recipe
from emofuse.train.runs.trained_models import trained_models

UTTERANCES = samples.utterances()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("combined")
    features = {
        "logmel": FeatureData(
            modality="audio", arrays=samples.frames(UTTERANCES, 0), encoder="logmel-smcn", frame_rate=20.0
        ),
        "hubert": FeatureData(
            modality="audio",
            arrays=samples.frames(UTTERANCES, 0, layers=3, seed=1),
            encoder="hubert",
            layers=(0, 4, 8),
            frame_rate=50.0,
        ),
        "rateless": FeatureData(modality="audio", arrays=samples.frames(UTTERANCES, 1, seed=2), encoder="ours"),
        "bert": FeatureData(modality="text", arrays=samples.frames(UTTERANCES, 1, dimension=5), encoder="bert"),
        "other": FeatureData(modality="text", arrays=samples.frames(UTTERANCES, 1, seed=3), encoder="other"),
        "sentence": FeatureData(
            modality="text", arrays={u.id: np.ones((1, 4), np.float32) for u in UTTERANCES}, encoder="sentence"
        ),
    }
    samples.store(made / "tiny.h5", UTTERANCES, features=features)
    samples.protocol_file(made)
    return made


def fitted(folder: Path, name: str, model: str, **options: Any) -> Run:
    return Run.open(samples.quietly(samples.config(folder, name, model, folds="1,2", **options)))


def refusal(folder: Path, model: str, **options: Any) -> str:
    with pytest.raises(UsageError) as caught, FeatureStore(folder / "tiny.h5") as store:
        resolve(store, samples.config(folder, "no", model, **options))
    return str(caught.value)


def test_weighted_layers_find_the_layer_with_the_class(folder: Path) -> None:
    run = fitted(
        folder, "weighted", "audio", audio="hubert", layers="weighted", steps=60, settings=("lr=0.02", "hidden=8")
    )
    assert run.config["run"]["layers"] == "weighted"
    assert run.config["run"]["features"]["audio"]["name"] == "hubert"
    for trained in trained_models(run):
        weights = torch.softmax(trained.model.get_parameter("front.audio.layers.0"), 0)
        assert int(weights.argmax()) == 1
    assert not verify_run(run.folder).problems
    tested = evaluate(
        run=run.folder, store=folder / "tiny.h5", out=folder / "again", device="cpu", say=lambda line: None
    )
    assert tested.metrics["pooled"] == run.metrics["pooled"]


@pytest.mark.parametrize("combine", ["concatenate", "gated"])
@pytest.mark.parametrize("model", ["audio", "linear", "concat"])
def test_several_features_are_recorded_and_evaluated(folder: Path, model: str, combine: Any) -> None:
    text = {} if model == "audio" else {"text": ("bert", "sentence")}
    given = {"audio": ("logmel", "hubert"), "layers": "weighted", "combine": combine, "steps": 6} | text
    run = fitted(folder, f"{model}-{combine}", model, **given)
    identity = run.config["run"]
    assert identity["features"]["audio"]["name"] == "logmel+hubert"
    assert [m["name"] for m in identity["features"]["audio"]["members"]] == ["logmel", "hubert"]
    assert identity.get("combine") == (None if combine == "concatenate" else combine)
    assert not verify_run(run.folder).problems
    out = folder / f"{model}-{combine}-again"
    tested = evaluate(run=run.folder, store=folder / "tiny.h5", out=out, device="cpu", say=lambda line: None)
    assert tested.metrics["pooled"] == run.metrics["pooled"]
    with pytest.raises(UsageError, match=r"'logmel\+hubert' is several features"):
        export(run=run.folder, format="torchscript", out=folder / "x", say=lambda line: None)


@pytest.mark.parametrize("model", ["audio", "linear"])
def test_weighted_layers_are_exported(folder: Path, model: str) -> None:
    run = fitted(folder, f"exported-{model}", model, audio="hubert", layers="weighted", steps=4)
    made = export(run=run.folder, format="torchscript", out=folder / f"export-{model}", say=lambda line: None)
    assert made.check is not None
    assert made.check.difference < 1e-5


def test_a_single_feature_is_read_and_recorded_as_before(folder: Path) -> None:
    with FeatureStore(folder / "tiny.h5") as store:
        plan = resolve(store, samples.config(folder, "one", "audio", audio=("logmel",)))
        recipe = model_recipe(plan)
    assert not recipe.fronts
    assert not {"layers", "combine"} & set(plan.identity())
    assert set(plan.identity()["features"]["audio"]) == {"name", "encoder", "dimension", "fingerprint"}


def test_a_mapped_feature_gives_the_values_of_one_in_memory(folder: Path) -> None:
    with FeatureStore(folder / "tiny.h5") as store:
        plan = resolve(store, samples.config(folder, "one", "audio", audio="hubert", layers="weighted"))
        rows = np.array([3, 0, 17])
        one, two = (
            replace(Loader(plan, shared=shared).task_data(plan.folds[0]), statistics={}).batch(rows).inputs[0]
            for shared in (False, True)
        )
    assert one is not None
    assert two is not None
    assert torch.equal(one, two)
    assert one.shape[-1] == 18


REFUSED = [
    ("audio", {"audio": "hubert"}, "let it weigh them with --layers weighted, or give --audio"),
    ("audio", {"audio": "logmel", "layers": "weighted"}, "'logmel' has no layer axis; those with one: hubert"),
    ("weighted-layers", {"audio": "hubert", "layers": "weighted"}, "weighs the layers itself"),
    ("weighted-layers", {"audio": ("hubert", "hubert")}, "takes one feature"),
    ("audio", {"audio": ("logmel", "logmel")}, "--audio logmel is given twice"),
    ("audio", {"audio": ("logmel", "rateless")}, "'rateless' records no frame rate"),
    ("audio", {"audio": ("logmel", "hubert")}, "holds 3 layers per frame"),
    ("audio", {"audio": "logmel", "combine": "gated"}, "--combine gated has no effect"),
    ("text", {"text": ("bert", "other")}, "cut words into different pieces"),
    ("text", {"text": ("sentence", "bert")}, "name 'bert' first"),
    ("audio", {"audio": "hubert", "layers": "weighted", "settings": ("mask_features=0.1",)}, "mask_features masks"),
    ("audio", {"audio": "hubert", "layers": "weighted", "augmented": 1}, "weighted by layers: give one of the two"),
]


@pytest.mark.parametrize(("model", "options", "reason"), REFUSED)
def test_what_cannot_be_combined_is_refused_with_the_reason(
    folder: Path, model: str, options: dict[str, Any], reason: str
) -> None:
    assert reason in refusal(folder, model, **options)


def test_pooled_text_of_two_tokenizers_is_taken(folder: Path) -> None:
    with FeatureStore(folder / "tiny.h5") as store:
        plan = resolve(store, samples.config(folder, "no", "linear", text=("bert", "other")))
    assert plan.features["text"].dimension == 11
