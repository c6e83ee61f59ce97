"""The `extract` commands in messages: options as the store has recorded them, free names, known encoders."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import train_samples as samples

from emofuse.common.errors import UsageError
from emofuse.manifests.schema import Manifest
from emofuse.store import FeatureData, FeatureStore
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.features.extract_commands import (
    LAYERED,
    UNLAYERED,
    command_that_made,
    default_feature_name,
    extract_command,
)
from emofuse.train.resolve.make_plan import resolve

UTTERANCES = samples.utterances()
CORPUS = ["--root", "/data/my corpus", "--transcripts", "t.csv"]


def feature(
    encoder: str, modality: str = "audio", layers: int = 0, view: str = "frames", **provenance: Any
) -> FeatureData:
    arrays = samples.frames(UTTERANCES, 0, layers=layers)
    return FeatureData(
        modality=modality,  # type: ignore[arg-type]
        arrays=arrays,
        encoder=encoder,
        layers=tuple(range(layers)),
        view=view,
        fingerprint={} if encoder in ("logmel", "logmel-smcn", "egemaps") else {"layers": list(range(layers or 1))},
        provenance=provenance,
    )


def store_of(folder: Path, features: dict[str, FeatureData], of: Any = UTTERANCES, corpus: str = "tiny") -> Path:
    samples.protocol_file(folder, samples.TOML.replace('"tiny"', f'"{corpus}"'))
    return samples.store(folder / "s.h5", of, corpus=corpus, features=features)


def refusal(path: Path, model: str, **options: Any) -> str:
    asked = FitConfig(store=path, model=model, protocol=str(path.parent / "tiny4.toml"), device="cpu", **options)
    with FeatureStore(path) as store, pytest.raises(UsageError) as caught:
        resolve(store, asked)
    return str(caught.value)


def test_the_corpus_options_of_any_feature_are_repeated(tmp_path: Path) -> None:
    path = store_of(tmp_path, {"bert": feature("bert", "text"), "logmel": feature("logmel", corpus_options=CORPUS)})
    message = refusal(path, "smcn", text="mpnet")
    expected = ["extract", "--dataset", "tiny", *CORPUS, "--encoder", "mpnet", "--store", str(path)]
    assert f"Add it: {shlex.join(expected)}" in message
    assert "'/data/my corpus'" in message


@pytest.mark.parametrize("nonsense", [None, "--root x", 3, ["--root", 3], {}])
def test_options_that_are_no_list_of_words_are_left_out(tmp_path: Path, nonsense: Any) -> None:
    path = store_of(tmp_path, {"bert": feature("bert", "text", corpus_options=nonsense, encoder_options=nonsense)})
    with FeatureStore(path) as store:
        assert extract_command(store, "bert") == f"extract --dataset tiny --encoder bert --store {path}"


def test_a_set_of_emobox_is_read_by_the_reader_of_all_sets(tmp_path: Path) -> None:
    with FeatureStore(store_of(tmp_path, {"logmel": feature("logmel")}, corpus="emobox-cafe")) as store:
        assert extract_command(store, "hubert").startswith("extract --dataset emobox --encoder hubert ")


def test_encoder_options_are_those_of_the_same_encoder_alone(tmp_path: Path) -> None:
    features = {
        "hubert": feature("hubert", encoder_options=["--weights", "w", "--layers", "9"]),
        "h2": feature("hubert", encoder_options=["--weights", "w2", "--layers=6"]),
    }
    with FeatureStore(store_of(tmp_path, features)) as store:
        other, two = extract_command(store, "wavlm"), store.features["h2"]
        assert "--weights" not in other
        assert "--encoder hubert --weights w2 --layers=6 --name h2 --store" in extract_command(
            store, "hubert", like=two, name="h2"
        )
        assert "--weights w2 --layers all --store" in extract_command(store, "hubert", like=two, layers="all")


def test_layers_for_a_feature_that_has_the_last_one_come_under_a_free_name(tmp_path: Path) -> None:
    made = feature("hubert", corpus_options=["--root", "r"], encoder_options=["--weights", "w"])
    path = store_of(tmp_path, {"hubert": made})
    command = (
        f"extract --dataset tiny --root r --encoder hubert --weights w --layers all --name hubert-layers --store {path}"
    )
    for options in ({}, {"audio": "hubert"}):
        message = refusal(path, "weighted-layers", **options)
        assert command in message
        assert "then: fit ... --audio hubert-layers" in message


def test_a_name_that_is_taken_is_not_advised(tmp_path: Path) -> None:
    features = {"hubert": feature("hubert"), "hubert-layers": feature("wavlm")}
    assert "--name hubert-layers-2" in refusal(store_of(tmp_path, features), "weighted-layers", audio="hubert")


@pytest.mark.parametrize(("name", "encoder"), [("logmel", "logmel-smcn"), ("egemaps", "egemaps")])
def test_encoders_without_layers_are_not_asked_for_any(tmp_path: Path, name: str, encoder: str) -> None:
    message = refusal(store_of(tmp_path, {name: feature(encoder)}), "weighted-layers", audio=name)
    assert "has no layer axis" in message
    assert "--encoder hubert --layers all --store" in message
    assert "--encoder logmel" not in message


def test_one_layer_of_a_feature_that_has_all(tmp_path: Path) -> None:
    made = feature("hubert", layers=3, encoder_options=["--layers", "all"])
    message = refusal(store_of(tmp_path, {"hubert": made}), "audio", audio="hubert")
    assert "holds 3 layers per frame, model audio takes one" in message
    assert "--encoder hubert --layers last --name hubert-last-layer --store" in message
    assert "then: fit ... --audio hubert-last-layer" in message


def test_a_feature_that_fits_is_named_before_a_new_one(tmp_path: Path) -> None:
    path = store_of(tmp_path, {"hubert": feature("hubert"), "deep": feature("hubert", layers=3)})
    message = refusal(path, "weighted-layers", audio="hubert")
    assert message.endswith("give --audio deep")


def test_a_near_name_in_the_store_comes_first_and_is_not_extracted(tmp_path: Path) -> None:
    message = refusal(store_of(tmp_path, {"bert": feature("bert", "text")}), "text", text="brt")
    assert "Did you mean 'bert'?" in message
    assert "extract" not in message


@pytest.mark.parametrize(("asked", "meant"), [("hubrt", "hubert"), ("wave2vec", "wav2vec2"), ("logmell", "logmel")])
def test_a_misspelt_encoder_is_put_right(tmp_path: Path, asked: str, meant: str) -> None:
    message = refusal(store_of(tmp_path, {"x": feature("x")}), "audio", audio=asked)
    assert f"Is it encoder {meant!r}? Add it: extract --dataset tiny --encoder {meant} --store" in message
    assert f"--encoder {asked}" not in message


def test_a_name_that_is_no_encoder_is_never_advised_as_one(tmp_path: Path) -> None:
    message = refusal(store_of(tmp_path, {"logmel": feature("logmel")}), "audio", audio="qqqq")
    assert "audio encoders: logmel, logmel-mcfn, prosody" in message
    assert "--encoder NAME" in message
    layered = refusal(tmp_path / "s.h5", "weighted-layers", audio="qqqq")
    assert "audio encoders: hubert, hubert-large" in layered


def test_the_encoders_that_are_advised_are_those_of_stage_1() -> None:
    registered = pytest.importorskip("emofuse.extract.encoders.registry").ENCODERS
    for modality in ("audio", "text"):
        # hf-audio and hf-text are what their weights are; the other two are one feature, advised under its name.
        named = {n for n in registered.names() if registered[n].modality == modality and not n.startswith("hf-")}
        assert {*LAYERED[modality], *UNLAYERED[modality]} == named - {"logmel-smcn"}
        assert all(registered[n].pretrained for n in LAYERED[modality])
    assert all(registered[n].feature == default_feature_name(n) for n in registered.names())


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("wavlm-mean", ["--views", "frames,mean"], ["--views", "frames,mean"]),
        ("ours-mean", ["--views", "mean"], ["--views", "mean", "--name", "ours"]),
    ],
)
def test_the_command_that_made_a_view_names_the_feature_it_is_of(
    tmp_path: Path, name: str, options: list[str], expected: list[str]
) -> None:
    path = store_of(tmp_path, {name: feature("wavlm", view="mean", encoder_options=options)})
    with FeatureStore(path) as store:
        command = command_that_made(store, store.feature(name))
    assert command == shlex.join(
        ["extract", "--dataset", "tiny", "--encoder", "wavlm", *expected, "--store", str(path)]
    )


def test_one_layer_of_a_mean_over_frames_comes_as_frames(tmp_path: Path) -> None:
    views = ["--weights", "w", "--views", "mean"]
    path = store_of(tmp_path, {"wavlm-mean": feature("wavlm", layers=3, view="mean", encoder_options=views)})
    message = refusal(path, "audio", audio="wavlm-mean")
    assert "--encoder wavlm --weights w --layers last --name wavlm-last-layer" in message
    assert "then: fit ... --audio wavlm-last-layer" in message


def test_a_corpus_read_without_texts_is_read_again_with_them(tmp_path: Path) -> None:
    silent = tuple(replace(u, text=None) for u in UTTERANCES)
    features = {"logmel": feature("logmel", corpus_options=["--root", "r"])}
    path = store_of(tmp_path, features, silent, "savee")
    for model, options in (("smcn", {}), ("text", {}), ("text", {"text": "bert"})):
        message = refusal(path, model, **options)
        assert "corpus savee has no text, and model" in message
        assert f"extract --dataset savee --root r --encoder bert --transcripts CSV --store {path}" in message
    (tmp_path / "other").mkdir()
    other = refusal(store_of(tmp_path / "other", features, silent, "tiny"), "text")
    assert other.endswith("corpus tiny has no text, and model text needs it")


def test_unknown_weights_are_refused_with_the_command_that_made_them(tmp_path: Path) -> None:
    made = feature(
        "bert", "text", corpus_options=["--root", "r"], encoder_options=["--weights", "w"], fitted_on="a task"
    )
    path = store_of(tmp_path, {"mine": made})
    command = f"extract --dataset tiny --root r --encoder bert --weights w --name mine --store {path} --fitted-on none"
    assert f"`{command}`" in refusal(path, "text", text="mine")


def test_imported_features_are_imported_again_with_what_they_were_fitted_on(tmp_path: Path) -> None:
    origin = {"fitted_on": [{"corpus": "unknown", "labels": True}]}
    made = FeatureData(
        modality="text",
        arrays=samples.frames(UTTERANCES, 1),
        fingerprint={"imported_from": "mmsa"},
        provenance=origin,
    )
    path = store_of(tmp_path, {"theirs": made})
    command = f"emofuse store import {path} --from mmsa --source ... --name theirs --modality text --fitted-on none"
    assert f"`{command}`" in refusal(path, "text", text="theirs")


def test_a_store_whose_texts_were_left_out_has_text(tmp_path: Path) -> None:
    silent = Manifest(corpus="tiny", reader="tiny-1", utterances=UTTERANCES).without_text()
    features = {"logmel": feature("logmel", corpus_options=["--root", "r"])}
    message = refusal(store_of(tmp_path, features, silent.utterances), "text")
    assert "extract --dataset tiny --root r --encoder bert" in message
