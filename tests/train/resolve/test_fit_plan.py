"""What `fit` derives from a store and its options, and everything that it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import train_samples as samples

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.store import FeatureData, FeatureStore
from emofuse.train.fitting import model_file
from emofuse.train.models.registry import MODELS
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.resolve.make_plan import resolve
from emofuse.train.runs.fit_context import model_recipe

UTTERANCES = samples.utterances()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("plan")
    samples.store(made / "tiny.h5")
    samples.protocol_file(made)
    return made


@pytest.fixture
def store(folder: Path) -> Iterator[FeatureStore]:
    with FeatureStore(folder / "tiny.h5") as opened:
        yield opened


def plan(store: FeatureStore, model: str = "smcn", **options: Any) -> FitPlan:
    defaults = {"protocol": str(store.path.parent / "tiny4.toml"), "device": "cpu"}
    if model in ("smcn", "concat", "audio", "linear") and "audio" not in options:
        defaults["audio"] = "logmel"
    return resolve(store, FitConfig(store=store.path, model=model, **(defaults | options)))


def refusal(store: FeatureStore, model: str = "smcn", **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        plan(store, model, **options)
    return str(caught.value)


@pytest.mark.parametrize("entry", list(MODELS), ids=lambda e: e.name)
def test_every_model_finds_its_features(store: FeatureStore, entry: Any) -> None:
    found = plan(store, entry.name)
    assert set(found.features) <= set(entry.value.modalities)
    assert all(bool(f.layers) == entry.value.layered for f in found.features.values())
    assert len(found.folds) == 4


def test_log_mel_is_standardised_by_default_and_settings_change_that(store: FeatureStore) -> None:
    assert plan(store).standardised == ("audio",)
    assert plan(store, settings=("standardise_audio=off", "standardise_text=on")).standardised == ("text",)
    assert plan(store, "linear", text="bert").standardised == ("audio", "text")
    assert plan(store, "weighted-layers").standardised == ()


def test_the_only_feature_is_used_with_a_remark_where_the_preset_one_is_missing(folder: Path) -> None:
    features = {
        "minilm": FeatureData(modality="text", arrays=samples.frames(UTTERANCES, 1), encoder="minilm"),
    }
    path = samples.store(folder / "text-only.h5", features=features)
    with FeatureStore(path) as store:
        found = plan(store, "text")
    assert found.features["text"].name == "minilm"
    assert found.remarks == ("text feature 'minilm', the only one (the preset names 'bert')",)


def test_several_features_without_the_preset_one_need_a_choice(folder: Path) -> None:
    arrays = samples.frames(UTTERANCES, 1)
    features = {name: FeatureData(modality="text", arrays=arrays, encoder=name) for name in ("minilm", "mpnet")}
    with FeatureStore(samples.store(folder / "two.h5", features=features)) as store:
        assert "several text features, minilm, mpnet: give --text NAME" in refusal(store, "text")
        assert plan(store, "text", text="mpnet").features["text"].name == "mpnet"


def test_a_missing_feature_comes_with_the_command_that_adds_it(folder: Path, store: FeatureStore) -> None:
    message = refusal(store, text="mpnet")
    assert f"Add it: extract --dataset tiny --encoder mpnet --store {store.path}" in message
    assert "Valid: bert" in message
    features = {"bert": FeatureData(modality="text", arrays=samples.frames(UTTERANCES, 1))}
    with FeatureStore(samples.store(folder / "no audio.h5", features=features)) as other:
        expected = f"no audio feature; add one: extract --dataset tiny --encoder logmel --store '{other.path}'"
        assert expected in refusal(other, audio=None)


def test_a_corpus_without_a_modality_says_so(folder: Path) -> None:
    without_text = tuple(replace(u, text=None) for u in UTTERANCES)
    features = {"logmel": FeatureData(modality="audio", arrays=samples.frames(UTTERANCES, 0))}
    with FeatureStore(samples.store(folder / "silent.h5", without_text, features=features)) as store:
        assert "corpus tiny has no text, and model smcn needs it" in refusal(store)


def test_missing_or_superfluous_layers_are_refused_with_a_remedy(store: FeatureStore) -> None:
    needs = refusal(store, "weighted-layers", audio="logmel")
    assert "has no layer axis" in needs
    assert "give --audio hubert" in needs
    takes_one = refusal(store, "audio", audio="hubert")
    assert "holds 3 layers per frame, model audio takes one" in takes_one
    assert "give --audio logmel" in takes_one


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        ("audio", {"text": "bert"}, "--text has no effect: model audio uses audio only"),
        ("text", {"audio": "logmel"}, "--audio has no effect: model text uses text only"),
        ("smcn", {"audio": "bert"}, "--audio bert: that feature is text"),
        ("audio", {"settings": ("max_words=3",)}, "--set max_words: without effect, since no text is used"),
        ("linear", {"settings": ("hidden=3",)}, "no setting named 'hidden'"),
        ("smcn", {"settings": ("lr",)}, "--set lr: expected key=value"),
        ("smcn", {"settings": ("lr=fast",)}, "lr is 'fast'; expected a number"),
        ("smcn", {"settings": ("lr=-1",)}, "lr is -1; expected a number above 0"),
        ("smcn", {"settings": ("lr=nan",)}, "lr is nan; expected a number above 0"),
        ("smcn", {"settings": ("hidden=1.5",)}, "hidden is '1.5'; expected a whole number"),
        ("smcn", {"settings": ("mse=max",)}, "mse is 'max'; valid: mean, sum"),
        ("smcn", {"settings": ("detach_target=1",)}, "detach_target is '1'; valid: true, false"),
        (
            "smcn",
            {"steps": 5, "settings": ("steps=6",)},
            "(--steps and --set steps are the same), as 5 and as 6: pass one",
        ),
        ("smcn", {"folds": "1,9"}, "no fold named '9'"),
        ("smcn", {"device": "gpu"}, "no device 'gpu'; valid: auto, cpu"),
        ("weighted-layers", {"audio": "hubert", "text": "bert"}, "takes one feature"),
    ],
)
def test_wrong_options_are_refused(store: FeatureStore, model: str, options: dict[str, Any], expected: str) -> None:
    assert expected in refusal(store, model, **options)


def test_an_unknown_setting_lists_the_valid_ones_and_the_nearest(store: FeatureStore) -> None:
    with pytest.raises(
        UnknownNameError, match=r"named 'hiden'. Did you mean 'hidden'\? Valid: balance, batch, classified"
    ) as caught:
        plan(store, settings=("hiden=3",))
    assert "max_words" in str(caught.value)


@pytest.mark.parametrize("name", ["smnc", "lstm"])
def test_an_unknown_model_lists_them_all(store: FeatureStore, name: str) -> None:
    message = refusal(store, name)
    assert all(known in message for known in MODELS.names())


def test_all_mistakes_are_in_one_message(store: FeatureStore) -> None:
    message = refusal(store, protocol="iemocap5", text="glove", settings=("hiden=1", "lr=0"), device="tpu")
    for mistake in ("'iemocap5'", "'glove'", "'hiden'", "lr is 0", "'tpu'"):
        assert mistake in message


def test_a_protocol_of_another_corpus_is_refused(store: FeatureStore) -> None:
    assert f"protocol meld7 is for corpus meld, but {store.path} holds tiny" in refusal(store, protocol="meld7")


def test_settings_reach_the_config_and_its_identity(store: FeatureStore) -> None:
    found = plan(store, steps=7, settings=("lr=3e-4", "phi_1=maximum", "detach_target=true"))
    assert (found.settings.steps, found.settings.lr) == (7, 3e-4)
    assert found.identity()["settings"] | {"phi_1": "maximum", "detach_target": True} == found.identity()["settings"]
    assert "max_frames" not in plan(store, "text").identity()["settings"]


def test_identity_changes_with_whatever_changes_the_numbers(store: FeatureStore) -> None:
    base = plan(store).identity()
    others = [
        {"seed": 1},
        {"select": "last"},
        {"folds": "1"},
        {"class_weights": "balanced"},
        {"settings": ("lr=1e-3",)},
    ]
    assert all(plan(store, **change).identity() != base for change in others)
    assert plan(store, threads=1, out=Path("x")).identity() == base


def expecting(folder: Path, name: str, **counts: Any) -> str:
    total = counts.get("total", 64)
    classes = ", ".join(f"{c} = {counts.get(c, 16)}" for c in samples.CLASSES)
    gaps = counts.get("without_audio", [])
    text = f"{samples.TOML}\n[expected]\ntotal = {total}\nclasses = {{ {classes} }}\nwithout_audio = {gaps}\n"
    (folder / f"{name}.toml").write_text(text.replace("'", '"'))
    return str(folder / f"{name}.toml")


def test_expected_counts_pass(folder: Path, store: FeatureStore) -> None:
    found = plan(store, protocol=expecting(folder, "exact"))
    assert (found.task.excluded, found.task.differences, found.reduced()) == ({}, (), {})


def test_counts_that_differ_are_refused_with_both_numbers_until_allowed(folder: Path, store: FeatureStore) -> None:
    protocol = expecting(folder, "more", total=66, hap=18)
    message = refusal(store, protocol=protocol)
    assert "utterances in all: found 64, expected 66" in message
    assert "class hap: found 16, expected 18" in message
    assert "--allow-missing 2" in message
    assert "allowed 1" in refusal(store, protocol=protocol, allow_missing=1)
    assert len(plan(store, protocol=protocol, allow_missing=2).utterances) == 64


def test_swapped_class_counts_are_a_difference_though_the_total_is_right(folder: Path, store: FeatureStore) -> None:
    protocol = expecting(folder, "swap", hap=12, sad=20)
    message = refusal(store, protocol=protocol, allow_missing=3)
    assert "(off by 4, allowed 3)" in message
    assert "--allow-missing 4" in message
    assert len(plan(store, protocol=protocol, allow_missing=4).utterances) == 64


@pytest.fixture
def partial(tmp_path: Path) -> Iterator[FeatureStore]:
    """A store without the audio feature of two utterances."""
    arrays = samples.frames(UTTERANCES, 0)
    held = {i: a for i, a in arrays.items() if i not in (UTTERANCES[3].id, UTTERANCES[20].id)}
    features = {
        "logmel": FeatureData(modality="audio", arrays=held),
        "bert": FeatureData(modality="text", arrays=samples.frames(UTTERANCES, 1)),
    }
    samples.protocol_file(tmp_path)
    with FeatureStore(samples.store(tmp_path / "partial.h5", features=features)) as store:
        yield store


def test_utterances_without_a_feature_are_refused_then_excluded_and_listed(
    partial: FeatureStore, tmp_path: Path
) -> None:
    protocol = expecting(tmp_path, "strict")
    message = refusal(partial, protocol=protocol)
    assert "without an up-to-date audio feature: 2" in message
    found = plan(partial, protocol=protocol, allow_missing=2)
    assert list(found.task.excluded) == [UTTERANCES[3].id, UTTERANCES[20].id]
    assert len(found.utterances) == len(found.labels) == 62
    assert plan(partial, "text", protocol=protocol).task.excluded == {}


def test_known_gaps_of_a_release_are_no_difference(partial: FeatureStore, tmp_path: Path) -> None:
    gaps = [UTTERANCES[3].id, UTTERANCES[20].id]
    found = plan(partial, protocol=expecting(tmp_path, "gaps", without_audio=gaps))
    assert found.task.excluded == {}
    assert found.task.differences == ()
    assert len(found.utterances) == 62
    assert any("known gaps of the release" in remark for remark in found.remarks)


def test_an_encoder_fitted_on_a_test_fold_is_refused_for_that_fold_alone(tmp_path: Path) -> None:
    provenance = {"fitted_on": {"corpus": "tiny", "sessions": ["2"], "labels": True}}
    features = {"bert": FeatureData(modality="text", arrays=samples.frames(UTTERANCES, 1), provenance=provenance)}
    samples.protocol_file(tmp_path)
    with FeatureStore(samples.store(tmp_path / "s.h5", features=features)) as store:
        message = refusal(store, "text")
        named = ", ".join([u.id for u in UTTERANCES if u.session == "2"][:3])
        expected = "fold 2 (2): the encoder of 'bert' was fitted on 16 of 16 test utterances, with their labels"
        assert f"{expected}: {named}, ...\n" in message
        assert "fold 1" not in message
        assert [f.number for f in plan(store, "text", folds="1,3").folds] == [1, 3]


def test_a_store_without_a_label_of_the_task_is_refused(tmp_path: Path) -> None:
    strange = tuple(replace(u, label="xxx") for u in UTTERANCES)
    samples.protocol_file(tmp_path)
    features = {"bert": FeatureData(modality="text", arrays=samples.frames(UTTERANCES, 1))}
    with FeatureStore(samples.store(tmp_path / "s.h5", strange, features=features)) as store:
        message = refusal(store, "text")
    assert "no utterance" in message
    assert "it has: xxx" in message


def test_optional_settings_are_recorded_only_where_they_are_on(store: FeatureStore) -> None:
    plain = plan(store)
    on = plan(store, settings=("ema=0.9", "schedule=cosine"))
    assert on.identity()["settings"] == plain.identity()["settings"] | {"ema": 0.9, "schedule": "cosine"}
    assert plan(store, settings=("ema=0", "schedule=constant")).identity() == plain.identity()
    recorded = model_file.describe(model_recipe(plain))["settings"]
    assert "schedule" not in recorded
    assert model_file.describe(model_recipe(on))["settings"] == recorded | {"ema": 0.9, "schedule": "cosine"}


def test_settings_of_the_training_that_exclude_options_are_all_named_at_once(store: FeatureStore) -> None:
    message = refusal(
        store,
        select="last",
        final=True,
        class_weights="balanced",
        settings=("schedule=plateau", "patience=3", "logit_adjustment=1"),
    )
    for part in (
        "schedule=plateau follows the validation score, and with --select last",
        "patience=3 follows the validation score, and with --select last",
        "--final trains on all data without validation",
        "logit_adjustment=1 and --class-weights balanced both correct",
    ):
        assert part in message
    assert "balance=class and --class-weights" in refusal(store, class_weights="balanced", settings=("balance=class",))
    message = refusal(store, settings=("ema=0.9", "swa=0.2", "patience=2", "focal=1", "label_smoothing=0.1"))
    assert all(pair in message for pair in ("ema=0.9 and swa=0.2", "swa=0.2 and patience=2", "label_smoothing=0.1 and"))
    assert "balance=class and logit_adjustment=1.0" in refusal(store, settings=("balance=class", "logit_adjustment=1"))
    assert "modality_dropout: without effect, since no text" in refusal(
        store, "audio", settings=("modality_dropout=0.2",)
    )


def test_balanced_speakers_are_known(tmp_path: Path) -> None:
    of = tuple(replace(u, speaker=None) if u.id == "s1_u003" else u for u in UTTERANCES)
    samples.store(tmp_path / "tiny.h5", of)
    samples.protocol_file(tmp_path, samples.TOML.replace('"speaker", ', ""))
    with FeatureStore(tmp_path / "tiny.h5") as store:
        message = refusal(store, settings=("balance=speaker",))
    assert "balance=speaker: the speaker of 1 training utterance is unknown, s1_u003 first" in message
