"""Everything that is refused of several stores: protocols, corpora, features, and training data of encoders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import joint_samples as joint
import pytest
import train_samples as samples

from emofuse.common.errors import UsageError
from emofuse.store import FeatureData, FeatureStore
from emofuse.train.runs.fit_context import resolved


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("stores")
    for corpus in joint.LABELS:
        joint.store(made, corpus)
    joint.store(made, "big", name="again")
    samples.protocol_file(made, samples.TOML.replace('"tiny"', '"big"'))
    joint.protocol(made)
    joint.protocol(made, "far", far=True)
    return made


def refusal(folder: Path, stores: Any = ("big", "small"), test: str | None = None, **options: Any) -> str:
    with pytest.raises(UsageError) as caught, resolved(joint.config(folder, stores, test, **options)):
        pass
    return str(caught.value)


BOTH = "protocol both takes --store of small, --store of big"


@pytest.mark.parametrize(
    ("protocol", "stores", "test", "expected"),
    [
        ("both", ["big"], None, [BOTH, "no store of small: give --store PATH (extract --dataset small --encoder NAME"]),
        (
            "both",
            ["big", "small", "far"],
            None,
            [BOTH, "--store {far} holds far, which the protocol does not use"],
        ),
        ("both", ["big", "small", "again"], None, ["--store {again} holds big, as {big} does: leave one of them out"]),
        ("both", ["big", "small"], "far", ["--test-store {far} holds far, which the protocol does not use"]),
        ("both", ["big"], "small", ["--test-store {small} holds small: give it as --store"]),
        ("far", ["big", "small"], None, ["--test-store of far", "no store of far: give --test-store PATH"]),
        ("far", ["big", "small", "far"], None, ["--store {far} holds far: give it as --test-store"]),
        ("far", ["big", "far"], "small", ["{far} holds far: give it as --test-store", "{small} holds small: give it"]),
        ("tiny4", ["big", "small"], None, ["protocol tiny4 takes --store of big", "{small} holds small, which the"]),
        (
            "tiny4",
            ["big"],
            "far",
            ["--test-store {far} holds far, which the protocol does not use: leave it out"],
        ),
        ("tiny4", ["small"], None, ["protocol tiny4 is for corpus big, but {small} holds small"]),
    ],
)
def test_stores_that_the_protocol_does_not_take(
    folder: Path, protocol: str, stores: list[str], test: str | None, expected: list[str]
) -> None:
    message = refusal(folder, stores, test, protocol=str(folder / f"{protocol}.toml"))
    paths = {name: folder / f"{name}.h5" for name in ("big", "small", "far", "again")}
    for text in expected:
        assert text.format(**paths) in message


def test_protocols_that_would_be_valid_are_named(tmp_path: Path) -> None:
    for corpus, like in {"iemocap": "big", "savee": "small", "ravdess": "far"}.items():
        joint.store(tmp_path, corpus, joint.utterances(like), joint.features(like))
    message = refusal(tmp_path, ("iemocap", "savee"), "ravdess", protocol="joint4")
    needed = "protocol joint4 takes --store of iemocap, --store of savee"
    assert f"{needed}; the given stores match joint4-ravdess" in message
    message = refusal(tmp_path, ("iemocap", "savee"), protocol="iemocap4")
    assert "protocol iemocap4 takes --store of iemocap; the given stores match joint4" in message
    message = refusal(tmp_path, ("savee",), protocol="joint4")
    assert f"{needed}; the given stores match emobox-savee and savee4 and " in message
    assert ": no store of iemocap: give --store PATH (extract --dataset iemocap --encoder NAME" in message


def test_without_a_protocol_for_these_stores_those_over_several_corpora_are_listed(folder: Path) -> None:
    message = refusal(folder, test="far", protocol=None)
    assert "no default protocol for --store of big, --store of small, --test-store of far" in message
    assert "protocols over several corpora: joint4, joint4-goemotions, joint4-ravdess; or write one" in message


@pytest.mark.parametrize(("corpus", "split"), [("small", ""), ("far", 'test_split = "dev"')])
def test_a_store_that_contributes_nothing_to_the_task(tmp_path: Path, corpus: str, split: str) -> None:
    for name in joint.LABELS:
        of = joint.utterances(name)
        if name == corpus and split:
            of = tuple(replace(u, split="test") for u in of)
        elif name == corpus:
            of = tuple(replace(u, label=f"x{i % 20:02d}") for i, u in enumerate(of))
        joint.store(tmp_path, name, of)
    message = refusal(tmp_path, test="far", protocol=joint.protocol(tmp_path, "far", far=True, top=split))
    if split:
        assert (
            f"no utterance of {tmp_path / 'far.h5'}, split dev, has a label that the protocol knows for far" in message
        )
        assert "angry, joy, sorrow; it has: angry, calm, joy, sorrow" in message
    else:
        assert "has a label that the protocol knows for small, a, h, n, sa; it has: x00, x01" in message
        assert "x11, ... (20)" in message


def test_all_mistakes_are_in_one_message(folder: Path) -> None:
    message = refusal(folder, ["big", "again"], text="glove", settings=("hiden=1",), device="tpu")
    for mistake in ("again.h5 holds big, as", "no store of small", "'glove'", "'hiden'", "'tpu'"):
        assert mistake in message


def changed(folder: Path, corpus: str = "small", **features: FeatureData | None) -> Path:
    """Stores of both corpora; the features of one are replaced, or left out where None."""
    for name in ("big", "small"):
        made = joint.features(name) | (features if name == corpus else {})
        joint.store(folder, name, data={k: v for k, v in made.items() if v is not None})
    joint.protocol(folder)
    return folder


@pytest.mark.parametrize("named", [True, False], ids=["asked for", "default"])
def test_a_feature_missing_in_one_store_comes_with_its_command(tmp_path: Path, named: bool) -> None:
    message = refusal(changed(tmp_path, bert=None), text="bert" if named else None)
    assert (
        f"feature 'bert' is only in {tmp_path / 'big.h5'}; add it: extract --dataset small --root /data/small "
        in message
    )
    assert message.endswith(f"--encoder bert --weights w --store {tmp_path / 'small.h5'}")
    assert f"--store {tmp_path / 'big.h5'}" not in message


def test_a_feature_with_a_custom_name_is_added_under_that_name(tmp_path: Path) -> None:
    mine = joint.features("small")["bert"]
    message = refusal(changed(tmp_path, bert=None, mine=mine), text="mine")
    assert f"feature 'mine' is only in {tmp_path / 'small.h5'}" in message
    assert f"--root /data/big --encoder bert --weights w --name mine --store {tmp_path / 'big.h5'}" in message


def test_a_feature_of_one_store_is_proposed_for_the_other_where_no_store_has_the_default_one(tmp_path: Path) -> None:
    joint.store(tmp_path, "big", data={"logmel": joint.features("big")["logmel"]})
    made = joint.features("small")
    joint.store(tmp_path, "small", data={"logmel": made["logmel"], "t5": replace(made["bert"], encoder="t5")})
    joint.protocol(tmp_path)
    message = refusal(tmp_path)
    assert f"feature 't5' is only in {tmp_path / 'small.h5'}; add it: extract --dataset big --root /data/big" in message
    assert message.endswith(f"--encoder t5 --weights w --store {tmp_path / 'big.h5'}")


def test_a_feature_that_no_store_has_comes_with_a_command_for_each(tmp_path: Path) -> None:
    message = refusal(changed(tmp_path), text="mpnet")
    assert f"extract --dataset big --root /data/big --encoder mpnet --store {tmp_path / 'big.h5'}" in message
    assert f"and: extract --dataset small --root /data/small --encoder mpnet --store {tmp_path / 'small.h5'}" in message


def test_a_feature_of_the_other_modality_is_refused_as_such(tmp_path: Path) -> None:
    assert "--audio bert: that feature is text" in refusal(changed(tmp_path), audio="bert")
    (tmp_path / "partly").mkdir()
    assert "--audio bert: that feature is text" in refusal(changed(tmp_path / "partly", bert=None), audio="bert")


def test_the_only_feature_that_every_store_has_is_used_with_a_remark(tmp_path: Path) -> None:
    big, small = (replace(joint.features(c)["bert"], encoder="minilm") for c in ("big", "small"))
    joint.store(tmp_path, "big", data=joint.features("big") | {"minilm": big})
    joint.store(tmp_path, "small", data={"logmel": joint.features("small")["logmel"], "minilm": small})
    joint.protocol(tmp_path)
    with resolved(joint.config(tmp_path)) as found:
        assert found.features["text"].name == "minilm"
    assert "text feature 'minilm', the only one that every store has (the preset names 'bert')" in found.remarks


def test_features_with_different_settings_are_refused_with_every_field(tmp_path: Path) -> None:
    other = replace(joint.features("small", extractor=2)["bert"], arrays=samples.frames(joint_base(), 1, dimension=7))
    message = refusal(changed(tmp_path, bert=replace(other, dtype="float32")), text="bert")
    assert "feature 'bert' was not extracted with the same settings in all stores" in message
    for field in ('dtype: big "float16", small "float32"', "extractor: big 1, small 2", "width: big 5, small 7"):
        assert field in message
    assert "--encoder bert --weights w --name bert-matched --store" in message
    assert message.count("extract --dataset") == 2
    assert message.endswith("then: fit ... --text bert-matched")


def joint_base() -> Any:
    return samples.utterances(16, 2)


def test_filter_banks_that_are_pooled_by_corpus_need_another_feature(tmp_path: Path) -> None:
    message = refusal(changed(tmp_path, logmel=joint.features("small", pool=4)["logmel"]))
    assert "pool: big 5, small 4" in message
    assert message.endswith("Give another --audio, since encoder logmel-smcn has no settings to change")


def test_layers_of_one_store_alone_are_a_difference(tmp_path: Path) -> None:
    deep = FeatureData(modality="audio", arrays=samples.frames(joint_base(), 0, layers=3), layers=(0, 1, 2))
    message = refusal(changed(tmp_path, logmel=deep))
    assert "layer axis: big [], small [0, 1, 2]" in message


def test_an_incomplete_feature_is_finished_in_its_own_store(tmp_path: Path) -> None:
    changed(tmp_path)
    with FeatureStore(tmp_path / "small.h5") as store:
        at = store.features["bert"].complete_offset
    with (tmp_path / "small.h5").open("r+b") as file:
        file.seek(at)
        file.write(b"\0")
    message = refusal(tmp_path)
    command = f"extract --dataset small --root /data/small --encoder bert --weights w --store {tmp_path / 'small.h5'}"
    expected = f"feature 'bert' of {tmp_path / 'small.h5'} is incomplete; the same command finishes it: {command}"
    assert message == expected


def test_every_store_needs_the_modality(tmp_path: Path) -> None:
    joint.store(tmp_path, "big")
    without_text = tuple(replace(u, text=None) for u in joint.utterances("small"))
    joint.store(tmp_path, "savee", without_text, {"logmel": joint.features("small")["logmel"]})
    path = Path(joint.protocol(tmp_path))
    path.write_text(path.read_text().replace("small", "savee"))
    message = refusal(tmp_path, ("big", "savee"), protocol=str(path))
    assert message.startswith(f"{tmp_path / 'savee.h5'}: corpus savee has no text, and model concat needs it")
    assert "pass a CSV with columns id,text: extract --dataset savee --root /data/small --encoder bert" in message
    assert "corpus big" not in message


def fitted(folder: Path, fitted_on: Any, corpus: str = "small") -> Path:
    """All three stores; the one of `corpus` records what its text encoder was fitted on."""
    for name in joint.LABELS:
        made = joint.features(name)
        if name == corpus:
            provenance = dict(made["bert"].provenance) | {"fitted_on": fitted_on}
            made["bert"] = replace(made["bert"], provenance=provenance)
        joint.store(folder, name, data=made)
    joint.protocol(folder)
    joint.protocol(folder, "far", far=True)
    return folder


@pytest.mark.parametrize("corpus", ["small", "big"], ids=["recorded in its own store", "recorded in another store"])
def test_an_encoder_fitted_on_a_speaker_is_refused_where_that_speaker_is_tested(tmp_path: Path, corpus: str) -> None:
    fitted(tmp_path, {"corpus": "small", "speakers": ["2F"], "labels": True}, corpus)
    message = refusal(tmp_path)
    expected = "the encoder of 'bert' was fitted on 8 of 16 test utterances, with their labels"
    assert message.count(f"fold 2 (big:2+small:2F+small:2M): {expected}") == 1
    assert "fold 1" not in message
    with resolved(joint.config(tmp_path, folds="1,3")) as found:
        assert [f.number for f in found.folds] == [1, 3]


@pytest.mark.parametrize("corpus", ["far", "small"])
def test_an_encoder_fitted_on_the_test_corpus_is_refused(tmp_path: Path, corpus: str) -> None:
    fitted(tmp_path, {"corpus": "far"}, corpus)
    message = refusal(tmp_path, test="far")
    assert "fold 1 (far): the encoder of 'bert' was fitted on 36 of 36 test utterances, with their labels" in message


def test_an_encoder_fitted_on_a_training_corpus_may_test_another(tmp_path: Path) -> None:
    fitted(tmp_path, {"corpus": "small"})
    with resolved(joint.config(tmp_path, test="far")) as found:
        assert len(found.folds[0].test) == 36


def test_unlabelled_pretraining_is_remarked_once(tmp_path: Path) -> None:
    fitted(tmp_path, {"corpus": "far", "labels": False})
    with resolved(joint.config(tmp_path, test="far")) as found:
        remarks = [r for r in found.remarks if "without labels; this is allowed" in r]
    assert len(remarks) == 1


def test_unspecified_training_data_are_refused_with_the_command_of_the_store(tmp_path: Path) -> None:
    message = refusal(fitted(tmp_path, {"corpus": "unknown"}), test="far")
    command = f"extract --dataset small --root /data/small --encoder bert --weights w --store {tmp_path / 'small.h5'}"
    assert f"specify it with `{command} --fitted-on none`" in message
    assert message.count("it is unspecified") == 1


def test_a_validation_group_missing_in_the_stores_is_named(folder: Path) -> None:
    protocol = joint.protocol(folder, "lacking", far=True, folds='validation = ["big:9", "small:2F"]')
    message = refusal(folder, test="far", protocol=protocol)
    assert "validates on big:9, small:2F, but these stores have no utterance of big:9; they have: big:1" in message


def test_validation_on_every_group_leaves_nothing_to_train(folder: Path) -> None:
    every = ["big:1", "big:2", "big:3", "small:1F", "small:1M", "small:2F", "small:2M"]
    protocol = joint.protocol(folder, "all", far=True, folds=f"validation = {every}".replace("'", '"'))
    assert "no utterance to train" in refusal(folder, test="far", protocol=protocol)
