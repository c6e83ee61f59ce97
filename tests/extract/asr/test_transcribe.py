"""`extract --transcribe`: texts from a recogniser where there are none, kept apart from a corpus's own."""

from __future__ import annotations

import csv
import json
import subprocess
import wave
from pathlib import Path

import asr_samples as asr
import numpy as np
import pytest
import soundfile as sf
import tiny_speech_models as speech
import tiny_text_models as text
import torch
from click.testing import CliRunner, Result
from extract_samples import COMMAND

from emofuse.extract.asr import recogniser, transcribe
from emofuse.extract.asr.recogniser import load_recogniser
from emofuse.extract.commands.extract import extract as command
from emofuse.manifests.jsonl import read_manifest, write_manifest
from emofuse.manifests.schema import ASR, Manifest, Utterance
from emofuse.store import FeatureStore
from emofuse.store.commands.store import store as store_command
from emofuse.store.compare.card import make_card
from emofuse.store.core.from_arrays import FeatureData, write_store
from emofuse.store.edit.merge import merge

SPOKEN = {
    "c0": ["a"],
    "c1": ["o", "u"],
    "c2": ["u", "a", "o"],
    "c3": ["o", "o"],
    "c4": ["u"],
    "c5": ["a", "u", "a", "u"],
}
OWN = {"c1": "these words were there before", "c4": "and these"}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ctc`, which knows three tones, `whisper` of RANDOM weights, and encoders that recognise nothing."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("recognisers")
    asr.save_ctc(folder / "ctc")
    asr.save_whisper(folder / "whisper")
    text.save(folder / "bert", "bert")
    (folder / "hubert").mkdir()
    speech.save(folder / "hubert", "hubert")
    return folder


def put(path: Path, samples: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())


def write_csv(folder: Path, texts: dict[str, str]) -> None:
    rows = [["id", "audio", "text", "label"]]
    rows += [[id, f"{id}.wav", texts.get(id, ""), "ang" if int(id[1]) % 2 else "sad"] for id in SPOKEN]
    with (folder / "own" / "own.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A custom corpus of six clips, two of them with a text of the corpus."""
    for n, (id, words) in enumerate(SPOKEN.items()):
        put(tmp_path / "own" / f"{id}.wav", asr.tone(words, n))
    write_csv(tmp_path, OWN)
    return tmp_path


def arguments(folder: Path, *more: object, encoders: tuple[str, ...] = ("hashed",)) -> list[str]:
    where = ["--dataset", "custom", "--root", str(folder / "own"), "--manifest", str(folder / "own" / "own.csv")]
    chosen = [word for encoder in encoders for word in ("--encoder", encoder)]
    return [*where, *chosen, "--store", str(folder / "own.h5"), "--device", "cpu", "--quiet", *map(str, more)]


def extract(folder: Path, *more: object, encoders: tuple[str, ...] = ("hashed",)) -> Result:
    return CliRunner().invoke(command, arguments(folder, *more, encoders=encoders))


def utterances(folder: Path) -> dict[str, Utterance]:
    with FeatureStore(folder / "own.h5") as store:
        return {u.id: u for u in store.manifest.utterances}


def test_missing_texts_are_recognised_and_marked(folder: Path, models: Path) -> None:
    done = extract(folder, "--transcribe", models / "ctc")
    assert done.exit_code == 0, done.output
    assert "4 utterances transcribed by ctc, weights " in done.output
    found = utterances(folder)
    for id, spoken in SPOKEN.items():
        if id in OWN:
            assert (found[id].text, found[id].text_kind, found[id].text_source) == (OWN[id], None, None)
        else:
            assert str(found[id].text).replace(" ", "") == "".join(spoken)
            assert found[id].text_kind == ASR
            digest = load_recogniser(str(models / "ctc"), "cpu").digest
            assert found[id].text_source == f"ctc, weights {digest}"
    with FeatureStore(folder / "own.h5") as store:
        assert store.feature("hashed").ids == list(SPOKEN)
        assert store.feature("hashed").fingerprint["recogniser"] == found["c0"].text_source
    assert [p.name for p in folder.glob("own.h5*")] == ["own.h5"]


def test_the_recogniser_listens_to_the_channel_that_is_encoded(folder: Path, models: Path) -> None:
    for id, words in SPOKEN.items():
        samples = asr.tone(words)
        sf.write(folder / "own" / f"{id}.wav", np.stack([samples, -samples], axis=1), 16000)
    assert "no words in 4" in extract(folder, "--transcribe", models / "ctc").output
    done = extract(folder, "--transcribe", models / "ctc", "--channel", "left", "--name", "left")
    assert done.exit_code == 0, done.output
    found = utterances(folder)
    for id in set(SPOKEN) - set(OWN):
        assert str(found[id].text).replace(" ", "") == "".join(SPOKEN[id])
        assert str(found[id].text_source).startswith("the left channel by ctc, weights ")


def test_a_second_call_has_nothing_to_do(folder: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert extract(folder, "--transcribe", models / "ctc").exit_code == 0
    before = (folder / "own.h5").read_bytes()
    monkeypatch.setattr(recogniser.Recogniser, "transcribe", None)
    done = extract(folder, "--transcribe", models / "ctc")
    assert done.exit_code == 0, done.output
    assert "nothing to do" in done.output
    assert (folder / "own.h5").read_bytes() == before


def test_later_encoders_take_the_texts_from_the_store(folder: Path, models: Path) -> None:
    assert extract(folder, "--transcribe", models / "ctc", encoders=("logmel",)).exit_code == 0
    done = extract(folder)
    assert done.exit_code == 0, done.output
    with FeatureStore(folder / "own.h5") as store:
        assert store.feature("hashed").ids == list(SPOKEN)
        assert "recogniser" in store.feature("hashed").fingerprint
        assert "recogniser" not in store.feature("logmel").fingerprint


def test_a_text_of_the_corpus_that_comes_later_wins_and_makes_features_stale(folder: Path, models: Path) -> None:
    assert extract(folder, "--transcribe", models / "ctc").exit_code == 0
    write_csv(folder, {**OWN, "c0": "what was really said"})
    assert extract(folder, encoders=("logmel",)).exit_code == 0
    found = utterances(folder)["c0"]
    assert (found.text, found.text_kind, found.text_source) == ("what was really said", None, None)
    with FeatureStore(folder / "own.h5") as store:
        assert store.feature("hashed").stale == ["c0"]


def test_a_changed_clip_is_recognised_again(folder: Path, models: Path) -> None:
    assert extract(folder, "--transcribe", models / "ctc").exit_code == 0
    put(folder / "own" / "c2.wav", asr.tone(["o"], 9))
    assert extract(folder, encoders=("logmel",)).exit_code == 0
    assert utterances(folder)["c2"].text is None
    with FeatureStore(folder / "own.h5") as store:
        assert store.feature("hashed").stale == ["c2"]
    done = extract(folder, "--transcribe", models / "ctc")
    assert done.exit_code == 0, done.output
    assert "1 utterance transcribed" in done.output
    assert utterances(folder)["c2"].text == "o"


def test_another_recogniser_writes_its_own_texts_and_features(folder: Path, models: Path) -> None:
    assert extract(folder, "--transcribe", models / "ctc").exit_code == 0
    done = extract(folder, "--transcribe", models / "whisper")
    assert done.exit_code == 2
    assert "recogniser: stored" in done.stderr
    assert str(utterances(folder)["c0"].text_source).startswith("ctc")
    done = extract(folder, "--transcribe", models / "whisper", "--name", "hashed-whisper")
    assert done.exit_code in (0, 1), done.output
    found = utterances(folder)
    assert str(found["c0"].text_source).startswith("whisper")
    assert found["c1"].text == OWN["c1"]
    with FeatureStore(folder / "own.h5") as store:
        assert "c0" in store.feature("hashed").stale
        assert "c1" not in store.feature("hashed").stale


@pytest.mark.parametrize("model", ["ctc", "whisper"])
def test_the_text_of_a_clip_does_not_depend_on_its_batch(models: Path, model: str) -> None:
    loaded = load_recogniser(str(models / model), "cpu")
    clips = [asr.tone(spoken, n) for n, spoken in enumerate(SPOKEN.values())]
    clips.append(asr.tone(["a", "o"] * 6, 8))  # longer than a segment of the tiny whisper
    together = loaded.transcribe(clips)
    assert together == [loaded.transcribe([clip])[0] for clip in clips]
    assert together == loaded.transcribe(clips)
    assert len(set(together)) > 3


def test_a_clip_shorter_than_any_front_end_needs_is_recognised_too(models: Path) -> None:
    for model in ("ctc", "whisper"):
        loaded = load_recogniser(str(models / model), "cpu")
        assert len(loaded.transcribe([np.zeros(1, np.float32), np.zeros(200, np.float32)])) == 2


def test_a_killed_call_is_resumed(folder: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert extract(folder, "--transcribe", models / "ctc").exit_code == 0
    wanted = utterances(folder)
    (folder / "own.h5").unlink()
    monkeypatch.setattr(transcribe, "BATCH_SIZE", 1)
    real, seen = recogniser.Recogniser.transcribe, []

    def dying(self: recogniser.Recogniser, waveforms: list[np.ndarray]) -> list[str]:
        seen.append(len(waveforms))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(self, waveforms)

    monkeypatch.setattr(recogniser.Recogniser, "transcribe", dying)
    assert extract(folder, "--transcribe", models / "ctc").exit_code == 130
    side = folder / "own.h5.transcripts.jsonl"
    assert len(side.read_text().splitlines()) == 2
    with side.open("a") as file:
        file.write('{"source": "ctc, wei')  # a line that a killed call left incomplete
    done = extract(folder, "--transcribe", models / "ctc")
    assert done.exit_code == 0, done.output
    assert "2 utterances transcribed by ctc" in done.output
    assert "2 already were" in done.output
    assert seen == [1, 1, 1, 1, 1]
    assert utterances(folder) == wanted
    assert not side.exists()


def test_silence_gives_no_text_and_is_listed(folder: Path, models: Path) -> None:
    put(folder / "own" / "c0.wav", np.zeros(8000, np.float32))
    done = extract(folder, "--transcribe", models / "ctc")
    assert done.exit_code == 1, done.output
    assert "no words in 1" in done.output
    assert "c0: text: no words were recognised" in done.stderr
    with FeatureStore(folder / "own.h5") as store:
        assert "c0" not in store.feature("hashed").ids
        assert utterances(folder)["c0"].text is None


def test_a_dry_run_counts_and_recognises_nothing(folder: Path, models: Path) -> None:
    done = extract(folder, "--transcribe", models / "ctc", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "4 utterances would be transcribed by ctc" in done.output
    assert [p.name for p in folder.glob("own.h5*")] == []


def test_texts_that_are_left_out_keep_their_kind(folder: Path, models: Path) -> None:
    assert extract(folder, "--transcribe", models / "ctc", "--no-text").exit_code == 0
    found = utterances(folder)["c0"]
    assert (found.text, found.text_kind) == (None, ASR)
    assert found.text_digest is not None
    assert extract(folder, encoders=("logmel",)).exit_code == 0
    assert utterances(folder)["c0"].text_digest == found.text_digest
    again = extract(folder, "--transcribe", models / "ctc", "--no-text")
    assert again.exit_code == 0, again.output
    assert "nothing to do" in again.output


def test_a_corpus_without_missing_texts_loads_no_recogniser(folder: Path, tmp_path: Path) -> None:
    write_csv(folder, dict.fromkeys(SPOKEN, "words"))
    done = extract(folder, "--transcribe", tmp_path / "nowhere")
    assert done.exit_code == 0, done.output
    assert "every utterance has a text of its own; nothing to recognise" in done.output
    with FeatureStore(folder / "own.h5") as store:
        assert store.feature("hashed").fingerprint["text_kind"] == "transcript"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "bert",
            "its head is BertModel, which does not recognise speech; expected a model such as openai/whisper-small",
        ),
        ("hubert", "its head is HubertModel, which does not recognise speech"),
        ("nowhere", "expected a folder that exists, or ORG/NAME[@revision] on the hub"),
        ("bare", "has no feature extractor or no tokenizer"),
    ],
)
def test_a_model_that_is_not_a_recogniser_is_refused(folder: Path, models: Path, model: str, message: str) -> None:
    if model == "bare":
        (folder / "bare").mkdir()
        for name in ("config.json", "model.safetensors"):
            (folder / "bare" / name).write_bytes((models / "ctc" / name).read_bytes())
    done = extract(folder, "--transcribe", (folder if model == "bare" else models) / model)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert [p.name for p in folder.glob("own.h5*")] == []


def test_a_corpus_without_audio_is_refused_and_one_without_text_gets_a_hint(folder: Path, models: Path) -> None:
    rows = "id,text,label\na,hello,ang\nb,there,sad\n"
    (folder / "own" / "own.csv").write_text(rows)
    done = extract(folder, "--transcribe", models / "ctc")
    assert done.exit_code == 2
    assert "custom has no audio here to transcribe" in done.stderr
    write_csv(folder, {})
    done = extract(folder)
    assert done.exit_code == 2
    assert "transcribe them: --transcribe openai/whisper-small" in done.stderr


def test_the_kind_of_a_text_survives_files_and_copies(folder: Path, models: Path) -> None:
    assert extract(folder, "--transcribe", models / "ctc").exit_code == 0
    with FeatureStore(folder / "own.h5") as store:
        manifest = store.manifest
    write_manifest(manifest, folder / "m.jsonl")
    assert read_manifest(folder / "m.jsonl") == manifest
    for arguments in (
        ["copy", "own.h5", "copy.h5"],
        ["merge", "merged.h5", "own.h5", "copy.h5"],
        ["repack", "copy.h5"],
    ):
        done = CliRunner().invoke(store_command, [arguments[0], *(str(folder / a) for a in arguments[1:])])
        assert done.exit_code == 0, done.output
    for name in ("copy.h5", "merged.h5"):
        with FeatureStore(folder / name) as store:
            assert store.manifest == manifest


def test_info_and_card_count_recognised_texts(folder: Path, models: Path) -> None:
    assert extract(folder, "--transcribe", models / "ctc").exit_code == 0
    output = CliRunner().invoke(store_command, ["info", str(folder / "own.h5")]).output
    assert "text: 4 by the recogniser ctc, weights " in output
    assert ", 2 of the corpus's own" in output
    facts = json.loads(CliRunner().invoke(store_command, ["info", str(folder / "own.h5"), "--json"]).output)
    assert list(facts["text_source"].values()) == [4]
    with FeatureStore(folder / "own.h5") as store:
        (source,) = facts["text_source"]
        assert make_card(store)["features"]["hashed"]["fingerprint"]["recogniser"] == source


def test_a_manifest_with_recognised_texts_alone_takes_the_new_version(tmp_path: Path) -> None:
    import h5py

    from emofuse.store.core.manifest_columns import write_columns

    plain = Utterance(id="a", audio="a.wav", text="x")
    kinds = {
        1: plain,
        2: Utterance(id="a", audio="a.wav", text_digest="0" * 32),
        3: Utterance(id="a", audio="a.wav", text="x", text_kind=ASR, text_source="w"),
    }
    for version, utterance in kinds.items():
        with h5py.File(tmp_path / f"{version}.h5", "w") as file:
            write_columns(file.create_group("m"), Manifest(corpus="x", reader="x-1", utterances=(utterance,)))
            assert file["m"].attrs["version"] == version


@pytest.mark.slow
def test_the_command_runs_as_users_run_it(folder: Path, models: Path) -> None:
    done = subprocess.run(
        [*COMMAND, *arguments(folder, "--transcribe", models / "whisper", encoders=("logmel", "hashed"))],
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stderr
    assert "utterances transcribed by whisper" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_corpus_text_that_only_the_store_still_has_is_kept(folder: Path, models: Path) -> None:
    assert extract(folder, encoders=("logmel",)).exit_code in (0, 1)
    write_csv(folder, {})
    done = extract(folder, "--transcribe", models / "ctc")
    assert done.exit_code == 0, done.output
    found = utterances(folder)
    assert (found["c1"].text, found["c1"].text_kind) == (OWN["c1"], None)
    assert found["c0"].text_kind == ASR


def test_a_silent_clip_is_not_recognised_again(folder: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder / "own" / "c0.wav", np.zeros(8000, np.float32))
    assert extract(folder, "--transcribe", models / "ctc").exit_code == 1
    monkeypatch.setattr(recogniser.Recogniser, "transcribe", None)
    again = extract(folder, "--transcribe", models / "ctc")
    assert again.exit_code == 1, again.output
    assert "c0: text: no words were recognised by ctc" in again.stderr
    assert "nothing to do" in again.output


def test_a_call_without_a_recogniser_keeps_the_side_file_of_another(folder: Path, models: Path) -> None:
    side = folder / "own.h5.transcripts.jsonl"
    side.write_text("{}\n")
    assert extract(folder, encoders=("logmel",)).exit_code in (0, 1)
    assert side.exists()
    gone = CliRunner().invoke(store_command, ["rm", str(folder / "own.h5"), "--utterance", "c0"])
    assert gone.exit_code == 0, gone.output
    assert not side.exists(), "it may hold what a withdrawn utterance says"


def test_recognised_texts_that_the_store_leaves_out_are_reported_missing(folder: Path, models: Path) -> None:
    assert extract(folder, "--transcribe", models / "ctc", "--no-text", encoders=("logmel",)).exit_code == 0
    done = extract(folder)
    assert done.exit_code == 1, done.output
    assert "c0: text: the store keeps only a digest of the recognised text; --transcribe restores it" in done.stderr
    assert extract(folder, "--transcribe", models / "ctc").exit_code == 0
    with FeatureStore(folder / "own.h5") as store:
        assert store.feature("hashed").ids == list(SPOKEN)


@pytest.mark.parametrize("first", ["own", "asr"])
def test_merging_prefers_the_corpus_texts(tmp_path: Path, first: str) -> None:
    rows = {
        "own": Utterance(id="a", audio="a.wav", audio_digest="0" * 32, text="really said"),
        "asr": Utterance(
            id="a", audio="a.wav", audio_digest="0" * 32, text="reel set", text_kind=ASR, text_source="tiny"
        ),
    }
    for name, row in rows.items():
        data = FeatureData(modality="audio", arrays={"a": np.ones((2, 3), np.float32)})
        write_store(tmp_path / f"{name}.h5", Manifest(corpus="x", reader="x-1", utterances=(row,)), {"logmel": data})
    merge(tmp_path / "all.h5", [tmp_path / f"{n}.h5" for n in sorted(rows, key=lambda n: n != first)])
    with FeatureStore(tmp_path / "all.h5") as store:
        assert store.manifest.utterances == (rows["own"],)
