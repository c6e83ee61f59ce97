"""`extract` as a user runs it: correct and wrong use, on small corpora on disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from extract_samples import OWN, corpus, extract, put_wav

from emofuse.datasets.base import ReaderOptions
from emofuse.datasets.registry import read_corpus
from emofuse.store import FeatureSpec, FeatureStore, FeatureWriter

__all__ = ["corpus"]


def test_two_encoders_then_nothing_to_do(corpus: Path) -> None:
    result = extract(corpus, *OWN, "--encoder", "logmel", "--encoder", "hashed")
    assert result.returncode == 0, result.stderr
    assert "logmel: 8 utterances encoded" in result.stdout
    with FeatureStore(corpus / "own.h5") as store:
        assert sorted(store.features) == ["hashed", "logmel"]
        assert store.feature("logmel").complete
        assert store.manifest.utterances[3].seconds == pytest.approx(1.0)
        assert store.feature("logmel").fingerprint["audio"]["mono"] == "mean of channels"
        assert store.feature("hashed").fingerprint["text_kind"] == "transcript"
    before = (corpus / "own.h5").read_bytes()
    again = extract(corpus, *OWN, "--encoder", "logmel", "--encoder", "hashed")
    assert again.returncode == 0
    assert again.stdout.count("nothing to do") == 2
    assert (corpus / "own.h5").read_bytes() == before


def test_a_corpus_that_grows_and_a_clip_that_changes(corpus: Path) -> None:
    assert extract(corpus, *OWN, "--encoder", "logmel", "--encoder", "hashed").returncode == 0
    put_wav(corpus / "own" / "c8.wav", 0.7, seed=8)
    put_wav(corpus / "own" / "c2.wav", 0.9, seed=99)
    with (corpus / "own" / "own.csv").open("a") as file:
        file.write("c8,c8.wav,one more,ang,s2,0\n")
    result = extract(corpus, *OWN, "--encoder", "logmel")
    assert "logmel: 2 utterances encoded" in result.stdout, result.stderr
    with FeatureStore(corpus / "own.h5") as store:
        assert store.feature("logmel").ids == [f"c{i}" for i in range(9)]
        assert store.feature("hashed").ids == [f"c{i}" for i in range(8)]
        assert store.feature("logmel").stale == []


def test_a_value_of_the_text_does_not_count_as_one_of_the_excluded_clip(corpus: Path) -> None:
    (corpus / "own" / "c0.wav").write_bytes(b"no sound")
    (corpus / "own" / "c1.wav").unlink()
    found = extract(corpus, *OWN, "--encoder", "logmel", "--encoder", "hashed")
    assert (found.returncode, "2 items excluded" in found.stderr) == (1, True), found.stderr
    assert "from an earlier run" not in found.stdout


def test_values_of_clips_that_can_no_longer_be_read_stay_in_the_store(corpus: Path) -> None:
    both = (*OWN, "--encoder", "logmel", "--encoder", "hashed")
    assert extract(corpus, *both).returncode == 0
    with FeatureStore(corpus / "own.h5") as store:
        before = {f.name: f.read(f.ids).values for f in store.features.values()}, store.manifest
    for clip in (corpus / "own").glob("c[0-4].wav"):
        clip.rename(clip.with_suffix(".away"))
    again = extract(corpus, *both)
    assert again.returncode == 1
    assert "c0: no audio file c0.wav" in again.stderr
    assert "5 of them are in own.h5 from an earlier run, and are unchanged" in again.stdout
    assert extract(corpus, *OWN, "--encoder", "logmel", "--name", "other").returncode == 1
    with FeatureStore(corpus / "own.h5") as store:
        assert len(store.feature("other").ids) == 3
        for name, values in before[0].items():
            assert np.array_equal(store.feature(name).read(store.feature(name).ids).values, values)
        assert store.manifest == before[1]
    rows = (corpus / "own" / "own.csv").read_text()
    (corpus / "own" / "own.csv").write_text(rows.replace("c0,c0.wav", "c0,other.wav"))
    assert extract(corpus, *OWN, "--encoder", "logmel").returncode == 1
    with FeatureStore(corpus / "own.h5") as store:
        assert len(store.feature("logmel").ids) == 7, "another file is another clip, there or not"
    (corpus / "own" / "own.csv").write_text(rows)
    for clip in (corpus / "own").glob("*.away"):
        clip.rename(clip.with_suffix(".wav"))
    assert extract(corpus, *OWN, "--encoder", "logmel", "--name", "other").returncode == 0
    with FeatureStore(corpus / "own.h5") as store:
        assert len(store.feature("other").ids) == 8


def test_an_incomplete_release_is_noted(tmp_path: Path) -> None:
    for speaker in ("DC", "KL"):
        put_wav(tmp_path / "savee" / "AudioData" / speaker / "a01.wav", 0.5)
    options = ("--dataset", "savee", "--root", "savee", "--encoder", "logmel", "--dry-run")
    note = "note: savee holds 2 of the release's 4 sessions or speakers; nothing of JE, JK"
    assert note in extract(tmp_path, *options).stderr
    for speaker in ("JE", "JK"):
        put_wav(tmp_path / "savee" / "AudioData" / speaker / "a01.wav", 0.5)
    assert "note:" not in extract(tmp_path, *options).stderr


def test_an_unusable_store_is_refused_before_the_corpus_is_scanned(corpus: Path) -> None:
    (corpus / "file").write_text("")
    found = extract(corpus, *OWN[:-1], "file/own.h5", "--encoder", "logmel")
    assert (found.returncode, "Traceback" in found.stderr) == (2, False)
    assert f"{corpus / 'file'} is a file; choose another path" in found.stderr
    manifest = read_corpus("custom", corpus / "own", ReaderOptions(manifest=corpus / "own" / "own.csv"))[0]
    assert "scanning audio" not in found.stderr
    spec = FeatureSpec(name="logmel", modality="audio", encoder="logmel", dimension=3)
    with FeatureWriter(corpus / "own.h5", manifest, spec, dict.fromkeys(manifest.ids, 5)):
        pass
    for more in ((), ("--dry-run",)):
        found = extract(corpus, *OWN, "--encoder", "logmel", *more)
        assert found.returncode == 2
        assert "own.h5.logmel.part has feature 'logmel' made with different settings" in found.stderr
        assert "scanning audio" not in found.stderr


def test_features_do_not_depend_on_how_the_work_was_split(corpus: Path) -> None:
    for limit in ("3", "8"):
        assert extract(corpus, *OWN, "--encoder", "logmel", "--limit", limit).returncode == 0
    assert extract(corpus, *OWN[:-1], "whole.h5", "--encoder", "logmel").returncode == 0
    with FeatureStore(corpus / "own.h5") as parts, FeatureStore(corpus / "whole.h5") as whole:
        assert parts.manifest == whole.manifest
        ids = whole.manifest.ids
        first, second = (s.feature("logmel").read(ids).values for s in (parts, whole))
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (
            ("--dataset", "iemocup", "--encoder", "hubert"),
            ["no dataset named 'iemocup'. Did you mean 'iemocap'?", "meld"],
        ),
        (("--dataset", "iemocap", "--encoder", "hubrt"), ["no encoder named 'hubrt'. Did you mean 'hubert'?", "wavlm"]),
        (
            ("--dataset", "x", "--encoder", "y", "--views", "z", "--shard", "0/3", "--workers", "2"),
            ["no dataset named 'x'", "no encoder named 'y'", "'z'", "'0/3'", "shard and workers exclude"],
        ),
        (("--dataset", "iemocap", "--encoder", "logmel", "--device", "gpu"), ["corpora/iemocap", "no device 'gpu'"]),
        (("--dataset", "iemocap", "--encoder", "logmel"), ["corpora/iemocap", "EMOFUSE_CORPORA", "--root"]),
        ((*OWN, "--encoder", "logmel", "--device", "cuda:7"), ["no device 'cuda:7'"]),
        ((*OWN, "--encoder", "logmel", "--encoder", "logmel"), ["an encoder is named twice"]),
        (
            (*OWN, "--encoder", "logmel", "--encoder", "hashed", "--name", "x"),
            ["name belongs to one encoder, not to logmel, hashed"],
        ),
        ((*OWN, "--encoder", "hubert", "--weights", "no/such/folder/here"), ["no/such/folder/here"]),
    ],
)
def test_wrong_use_is_one_clear_message(corpus: Path, arguments: tuple[str, ...], messages: list[str]) -> None:
    result = extract(corpus, *arguments, environment={"HF_HUB_OFFLINE": "1", "EMOFUSE_CORPORA": ""})
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    for message in messages:
        assert message in result.stderr
    assert not list(corpus.glob("*.h5*"))


def test_a_store_of_another_corpus_and_another_fingerprint(corpus: Path) -> None:
    assert extract(corpus, *OWN, "--encoder", "logmel").returncode == 0
    result = extract(corpus, *OWN, "--encoder", "logmel", "--dtype", "fp32")
    assert result.returncode == 2
    assert "dtype: stored float16, asked for float32" in result.stderr
    assert "--name" in result.stderr
    assert extract(corpus, *OWN, "--encoder", "logmel", "--dtype", "fp32", "--name", "logmel32").returncode == 0
    other = extract(corpus, "--dataset", "emodb", "--root", "own", "--encoder", "logmel", "--store", "own.h5")
    assert other.returncode == 2
    assert other.stderr.startswith("error: ")


def test_dry_run_writes_nothing(corpus: Path) -> None:
    result = extract(corpus, *OWN, "--encoder", "logmel", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "8 utterances" in result.stdout
    assert "would be written in own.h5" in result.stdout
    assert not list(corpus.glob("*.h5*"))


def test_clips_at_other_rates_are_resampled_on_several_threads_at_once(corpus: Path) -> None:
    for i in range(8):
        put_wav(corpus / "own" / f"c{i}.wav", 0.5, rate=44100, seed=i)
    result = extract(corpus, *OWN, "--encoder", "logmel")
    assert (result.returncode, "Traceback" in result.stderr) == (0, False), result.stderr
    with FeatureStore(corpus / "own.h5") as store:
        assert len(store.feature("logmel").ids) == 8


def test_layers_are_refused_by_an_encoder_without_layers(corpus: Path) -> None:
    alone = extract(corpus, *OWN, "--encoder", "hashed", "--layers", "all")
    assert alone.returncode == 2
    assert "hashed has no layers" in alone.stderr


def test_every_encoder_without_weights_is_named(corpus: Path) -> None:
    refused = extract(corpus, *OWN, "--encoder", "emotion2vec", "--encoder", "logmel", "--encoder", "beats")
    assert refused.returncode == 2
    assert "error: 2 problems:" in refused.stderr
    assert "  - encoder emotion2vec has no default weights" in refused.stderr
    assert "  - encoder beats has no default weights" in refused.stderr
    assert not (corpus / "own.h5").exists()


def test_two_custom_corpora_do_not_share_a_store(corpus: Path) -> None:
    assert extract(corpus, *OWN, "--encoder", "hashed").returncode == 0
    shutil.copytree(corpus / "own", corpus / "other")
    result = extract(corpus, "--dataset", "custom", "--root", "other", "--manifest", "other/own.csv",
                     "--store", "own.h5", "--encoder", "hashed")  # fmt: skip
    assert result.returncode == 2
    assert "was read by 'custom-1 of own', not 'custom-1 of other'" in result.stderr


def test_what_the_weights_were_fitted_on_can_be_declared(corpus: Path) -> None:
    from emofuse.store.core.fitted_on import parse_fitted_on

    assert parse_fitted_on("none") == []
    assert parse_fitted_on("iemocap") == [{"corpus": "iemocap", "labels": True}]
    assert parse_fitted_on("iemocap:session=1,2") == [{"corpus": "iemocap", "labels": True, "sessions": ["1", "2"]}]
    wrong = extract(corpus, *OWN, "--encoder", "hashed", "--fitted-on", "iemocap:year=2008")
    assert wrong.returncode == 2
    assert "use none, CORPUS, or CORPUS:session=1,2" in wrong.stderr
    for declared, stored in (
        ("custom:speaker=s1", [{"corpus": "custom", "labels": True, "speakers": ["s1"]}]),
        ("none", []),
    ):
        assert extract(corpus, *OWN, "--encoder", "hashed", "--fitted-on", declared).returncode == 0
        with FeatureStore(corpus / "own.h5") as store:
            assert store.feature("hashed").provenance["fitted_on"] == stored


def test_a_folder_is_not_a_store(corpus: Path) -> None:
    result = extract(corpus, *OWN[:-1], "own", "--encoder", "logmel")
    assert result.returncode == 2
    assert "--store own is a folder; name a file in it" in result.stderr
    assert "scanning audio" not in result.stderr


def test_real_speech_from_the_release(shared: Path, tmp_path: Path) -> None:
    arguments = ("--dataset", "emodb", "--root", str(shared / "data" / "emodb"), "--encoder", "logmel", "--limit", "12")
    result = extract(tmp_path, *arguments)
    assert result.returncode == 0, result.stderr
    with FeatureStore(tmp_path / "cache" / "emodb.h5") as store:
        feature = store.feature("logmel")
        assert (feature.dimension, feature.frame_rate, len(feature.ids)) == (78, 20.0, 12)
        seconds = [u.seconds for u in store.manifest.utterances]
        assert feature.lengths.tolist() == pytest.approx([20 * s for s in seconds if s], abs=1.5)
