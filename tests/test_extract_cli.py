"""`extract` as a user runs it: real commands on small corpora on disk, right and wrong."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import wave
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from emofuse.store import FeatureStore

COMMAND = [sys.executable, "-c", "from emofuse.extract.cli import main; main()"]


def extract(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, env={**os.environ, **(environment or {})}
    )


def put_wav(path: Path, seconds: float, rate: int = 16000, channels: int = 1, loud: float = 0.1, seed: int = 0) -> None:
    samples = np.random.default_rng(seed).standard_normal((int(seconds * rate), channels)) * loud
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A lab's own corpus: eight clips and a CSV that names them."""
    rows = ["id,audio,text,label,speaker,session"]
    for i in range(8):
        put_wav(tmp_path / "own" / f"c{i}.wav", 0.4 + 0.2 * i, seed=i)
        rows.append(f"c{i},c{i}.wav,this is clip number {i},{'ang' if i % 2 else 'sad'},s{i % 3},{i % 2}")
    (tmp_path / "own" / "own.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


OWN = ("--dataset", "custom", "--root", "own", "--manifest", "own/own.csv", "--store", "own.h5")


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


def test_features_do_not_depend_on_how_the_work_was_cut(corpus: Path) -> None:
    for limit in ("3", "8"):
        assert extract(corpus, *OWN, "--encoder", "logmel", "--limit", limit).returncode == 0
    assert extract(corpus, *OWN[:-1], "whole.h5", "--encoder", "logmel").returncode == 0
    with FeatureStore(corpus / "own.h5") as parts, FeatureStore(corpus / "whole.h5") as whole:
        assert parts.manifest == whole.manifest
        ids = whole.manifest.ids
        first, second = (s.feature("logmel").read(ids).values for s in (parts, whole))
        np.testing.assert_array_equal(first, second)


def test_bad_clips_are_listed_and_the_run_goes_on(corpus: Path) -> None:
    own = corpus / "own"
    (own / "c1.wav").write_bytes(b"RIFF nonsense")
    put_wav(own / "c2.wav", 0.0)
    put_wav(own / "c3.wav", 1.0, loud=0.0)
    put_wav(own / "c4.wav", 1.0, rate=8000, channels=2)
    (own / "c5.wav").unlink()
    rows = (own / "own.csv").read_text().replace("this is clip number 6", " ")
    (own / "own.csv").write_text(rows)
    result = extract(corpus, *OWN, "--encoder", "logmel", "--encoder", "hashed")
    assert result.returncode == 1, "done, but some items were excluded"
    assert "Traceback" not in result.stderr
    for id in ("c1", "c2", "c5"):
        assert f"  {id}: " in result.stderr
    with FeatureStore(corpus / "own.h5") as store:
        assert store.feature("logmel").ids == ["c0", "c3", "c4", "c6", "c7"]
        assert "c1" in store.feature("hashed").ids, "its text is still of use"
        assert "c6" not in store.feature("hashed").ids
        reasons = {(e.id, e.modality): e.reason for e in store.manifest.excluded}
        assert {("c1", "audio"), ("c2", "audio"), ("c5", "audio"), ("c6", "text")} <= set(reasons)
        assert all(reasons.values())
        silent = store.feature("logmel").read(["c3"]).values
        assert np.isfinite(silent).all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("--dataset", "iemocup", "--encoder", "hubert"),
            ["no dataset named 'iemocup'. Did you mean 'iemocap'?", "meld"],
        ),
        (("--dataset", "iemocap", "--encoder", "hubrt"), ["no encoder named 'hubrt'. Did you mean 'hubert'?", "wavlm"]),
        (("--dataset", "x", "--encoder", "y"), ["no dataset named 'x'", "no encoder named 'y'"]),
        (("--dataset", "iemocap", "--encoder", "logmel"), ["corpora/iemocap", "EMOFUSE_CORPORA", "--root"]),
        ((*OWN, "--encoder", "logmel", "--device", "cuda:7"), ["no device 'cuda:7'"]),
        ((*OWN, "--encoder", "logmel", "--encoder", "logmel"), ["an encoder is named twice"]),
        (
            (*OWN, "--encoder", "logmel", "--encoder", "hashed", "--name", "x"),
            ["--name belongs to one encoder, not to logmel, hashed"],
        ),
        ((*OWN, "--encoder", "hubert", "--weights", "no/such/folder/here"), ["no/such/folder/here"]),
    ],
)
def test_wrong_use_is_one_clear_message(corpus: Path, arguments: tuple[str, ...], said: list[str]) -> None:
    result = extract(corpus, *arguments, environment={"HF_HUB_OFFLINE": "1", "EMOFUSE_CORPORA": ""})
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    for words in said:
        assert words in result.stderr
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


def test_a_damaged_store_is_exit_code_3(corpus: Path) -> None:
    assert extract(corpus, *OWN, "--encoder", "logmel").returncode == 0
    os.truncate(corpus / "own.h5", 3000)
    result = extract(corpus, *OWN, "--encoder", "hashed")
    assert (result.returncode, "Traceback" in result.stderr) == (3, False), result.stderr


def test_ctrl_c_ends_cleanly_and_the_same_command_goes_on(corpus: Path) -> None:
    rows = ["id,audio,label"]
    for i in range(60):
        shutil.copy(corpus / "own" / f"c{i % 8}.wav", corpus / "own" / f"m{i}.wav")
        rows.append(f"m{i},m{i}.wav,ang")
    (corpus / "own" / "own.csv").write_text("\n".join(rows) + "\n")
    slowly = """
import signal, time
# A shell that starts this suite in the background has it ignore Ctrl-C, and so would every child.
signal.signal(signal.SIGINT, signal.default_int_handler)
from emofuse.store.writer import PartWriter
put = PartWriter.put
def put_and_linger(writer, *utterance):
    put(writer, *utterance)
    print("one is written", flush=True)
    time.sleep(5)
PartWriter.put = put_and_linger
from emofuse.extract.cli import main
main()
"""
    command = [sys.executable, "-c", slowly, *OWN, "--encoder", "logmel"]
    process = subprocess.Popen(command, cwd=corpus, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "one is written\n"
    process.send_signal(signal.SIGINT)
    stderr = process.communicate()[1]
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert "interrupted" in stderr
    result = extract(corpus, *OWN, "--encoder", "logmel")
    assert result.returncode == 0, result.stderr
    with FeatureStore(corpus / "own.h5") as store:
        assert len(store.feature("logmel").ids) == 60
    assert sorted(p.name for p in corpus.iterdir()) == ["own", "own.h5"]


def test_clips_at_other_rates_are_resampled_on_several_threads_at_once(corpus: Path) -> None:
    for i in range(8):
        put_wav(corpus / "own" / f"c{i}.wav", 0.5, rate=44100, seed=i)
    result = extract(corpus, *OWN, "--encoder", "logmel")
    assert (result.returncode, "Traceback" in result.stderr) == (0, False), result.stderr
    with FeatureStore(corpus / "own.h5") as store:
        assert len(store.feature("logmel").ids) == 8


def test_a_batch_that_does_not_fit_is_halved_and_a_clip_that_never_fits_is_listed() -> None:
    from emofuse.extract.runner import _encode

    class Small:
        modality = "audio"
        sizes: ClassVar[list[int]] = []

        def encode(self, items: list[np.ndarray]) -> list[np.ndarray]:
            self.sizes.append(len(items))
            if sum(map(len, items)) > 10:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 11 bytes.")
            return [np.ones((len(i), 2), "f4") for i in items]

    encoded = _encode(Small(), [("a", np.zeros(4)), ("b", np.zeros(5)), ("c", np.zeros(6)), ("d", np.zeros(11))])
    assert [(id, None if values is None else len(values)) for id, values in encoded] == [
        ("a", 4), ("b", 5), ("c", 6), ("d", None)
    ]  # fmt: skip
    assert Small.sizes[0] == 4


def test_layers_concern_the_encoders_that_have_them(corpus: Path) -> None:
    alone = extract(corpus, *OWN, "--encoder", "hashed", "--layers", "all")
    assert alone.returncode == 2
    assert "hashed has no layers" in alone.stderr


def test_a_closed_pipe_does_not_stop_the_work(corpus: Path) -> None:
    command = [*COMMAND, *OWN, "--encoder", "logmel", "--encoder", "hashed", "--quiet"]
    process = subprocess.Popen(command, cwd=corpus, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait() == 0, process.stderr.read() if process.stderr else ""
    with FeatureStore(corpus / "own.h5") as store:
        assert sorted(store.features) == ["hashed", "logmel"]


def test_an_interrupted_whole_is_not_lost_to_a_small_trial(corpus: Path) -> None:
    from dataclasses import replace

    from emofuse.store import PartWriter

    assert extract(corpus, *OWN, "--encoder", "logmel").returncode == 0
    with FeatureStore(corpus / "own.h5") as store:
        feature, manifest = store.feature("logmel"), store.manifest
        values = {id: feature.read([id]).values for id in feature.ids}
        spec, lengths = replace(feature.spec), {id: len(v) for id, v in values.items()}
    (corpus / "own.h5").unlink()
    with PartWriter(corpus / "own.h5", manifest, spec, lengths) as writer:  # killed after five of eight
        for id in writer.pending[:5]:
            writer.put(id, values[id])
    trial = extract(corpus, *OWN, "--encoder", "logmel", "--limit", "2")
    assert trial.returncode == 0, trial.stderr
    whole = extract(corpus, *OWN, "--encoder", "logmel")
    assert "logmel: 3 utterances encoded" in whole.stdout or "logmel: 2 utterances encoded" in whole.stdout
    with FeatureStore(corpus / "own.h5") as store:
        assert len(store.feature("logmel").ids) == 8


def test_two_corpora_of_ones_own_do_not_end_in_one_store(corpus: Path) -> None:
    assert extract(corpus, *OWN, "--encoder", "hashed").returncode == 0
    shutil.copytree(corpus / "own", corpus / "other")
    result = extract(corpus, "--dataset", "custom", "--root", "other", "--manifest", "other/own.csv",
                     "--store", "own.h5", "--encoder", "hashed")  # fmt: skip
    assert result.returncode == 2
    assert "was read by 'custom-1 of own', not 'custom-1 of other'" in result.stderr


def test_a_clip_of_no_numbers_is_listed_once_and_for_all(corpus: Path) -> None:
    import soundfile

    soundfile.write(corpus / "own" / "c3.wav", np.full(16000, np.nan, "f4"), 16000, subtype="FLOAT")
    both = (*OWN, "--encoder", "logmel", "--encoder", "hashed")
    assert extract(corpus, *both).returncode == 1
    before = (corpus / "own.h5").read_bytes()
    with FeatureStore(corpus / "own.h5") as store:
        assert [(e.id, e.modality) for e in store.manifest.excluded] == [("c3", "audio")]
    again = extract(corpus, *both)
    assert (again.returncode, again.stdout.count("nothing to do")) == (1, 2)
    assert (corpus / "own.h5").read_bytes() == before


def test_damaged_values_are_encoded_again(corpus: Path) -> None:
    assert extract(corpus, *OWN, "--encoder", "logmel").returncode == 0
    whole = (corpus / "own.h5").read_bytes()
    with FeatureStore(corpus / "own.h5") as store:
        offset = store.feature("logmel").values_offset + 11
    with (corpus / "own.h5").open("r+b") as file:
        file.seek(offset)
        file.write(bytes([whole[offset] ^ 1]))
    result = extract(corpus, *OWN, "--encoder", "logmel")
    assert "logmel: 1 utterances encoded" in result.stdout, result.stderr
    with FeatureStore(corpus / "own.h5") as store:
        assert store.feature("logmel").damaged() == []


def test_a_cut_that_ends_after_its_file_is_listed(corpus: Path) -> None:
    (corpus / "own" / "own.csv").write_text("id,audio,start,end,label\na,c7.wav,0.5,1.0,x\nb,c7.wav,0.5,9.0,x\n")
    result = extract(corpus, *OWN, "--encoder", "logmel")
    assert result.returncode == 1
    assert "b: audio: lasts 1.80 s, but the utterance ends at 9 s" in result.stderr
    with FeatureStore(corpus / "own.h5") as store:
        assert store.manifest.utterances[0].seconds == pytest.approx(0.5)


def test_what_the_weights_were_fitted_on_can_be_said(corpus: Path) -> None:
    from emofuse.store.fitted import parse_fitted_on

    assert parse_fitted_on("none") == []
    assert parse_fitted_on("iemocap") == [{"corpus": "iemocap", "labels": True}]
    assert parse_fitted_on("iemocap:session=1,2") == [{"corpus": "iemocap", "labels": True, "sessions": ["1", "2"]}]
    wrong = extract(corpus, *OWN, "--encoder", "hashed", "--fitted-on", "iemocap:year=2008")
    assert wrong.returncode == 2
    assert "say none, CORPUS, or CORPUS:session=1,2" in wrong.stderr
    for said, stored in (
        ("custom:speaker=s1", [{"corpus": "custom", "labels": True, "speakers": ["s1"]}]),
        ("none", []),
    ):
        assert extract(corpus, *OWN, "--encoder", "hashed", "--fitted-on", said).returncode == 0
        with FeatureStore(corpus / "own.h5") as store:
            assert store.feature("hashed").provenance["fitted_on"] == stored


def test_a_folder_is_no_store(corpus: Path) -> None:
    result = extract(corpus, *OWN[:-1], "own", "--encoder", "logmel")
    assert result.returncode == 2
    assert "--store own is a folder; name a file in it" in result.stderr
    assert "looking at clips" not in result.stderr


def test_real_speech_from_the_release(shared: Path, tmp_path: Path) -> None:
    arguments = ("--dataset", "emodb", "--root", str(shared / "data" / "emodb"), "--encoder", "logmel", "--limit", "12")
    result = extract(tmp_path, *arguments)
    assert result.returncode == 0, result.stderr
    with FeatureStore(tmp_path / "cache" / "emodb.h5") as store:
        feature = store.feature("logmel")
        assert (feature.dimension, feature.frame_rate, len(feature.ids)) == (78, 20.0, 12)
        seconds = [u.seconds for u in store.manifest.utterances]
        assert feature.lengths.tolist() == pytest.approx([20 * s for s in seconds if s], abs=1.5)
