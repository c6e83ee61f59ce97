"""`extract` where something goes wrong: bad clips, interruptions, damaged stores, too little memory."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from extract_samples import COMMAND, OWN, corpus, extract, put_wav

from emofuse.store import FeatureStore

__all__ = ["corpus"]


def test_bad_clips_are_listed_and_the_others_encoded(corpus: Path) -> None:
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


def test_a_damaged_store_is_exit_code_3(corpus: Path) -> None:
    assert extract(corpus, *OWN, "--encoder", "logmel").returncode == 0
    os.truncate(corpus / "own.h5", 3000)
    result = extract(corpus, *OWN, "--encoder", "hashed")
    assert (result.returncode, "Traceback" in result.stderr) == (3, False), result.stderr


@pytest.mark.slow
def test_ctrl_c_ends_cleanly_and_the_same_command_resumes(corpus: Path) -> None:
    rows = ["id,audio,label"]
    for i in range(60):
        shutil.copy(corpus / "own" / f"c{i % 8}.wav", corpus / "own" / f"m{i}.wav")
        rows.append(f"m{i},m{i}.wav,ang")
    (corpus / "own" / "own.csv").write_text("\n".join(rows) + "\n")
    slowly = """
import time
from emofuse.store.core.writer import FeatureWriter
put = FeatureWriter.put
def put_and_linger(writer, *utterance):
    global lingered
    put(writer, *utterance)
    if not lingered:
        lingered = True
        print("one is written", flush=True)
        time.sleep(5)
lingered = False
FeatureWriter.put = put_and_linger
from emofuse.extract.commands.extract import main
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


@pytest.mark.slow
def test_a_closed_pipe_does_not_stop_the_work(corpus: Path) -> None:
    command = [*COMMAND, *OWN, "--encoder", "logmel", "--encoder", "hashed", "--quiet"]
    process = subprocess.Popen(command, cwd=corpus, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait() == 0, process.stderr.read() if process.stderr else ""
    with FeatureStore(corpus / "own.h5") as store:
        assert sorted(store.features) == ["hashed", "logmel"]


def test_an_interrupted_extraction_survives_one_with_a_limit(corpus: Path) -> None:
    from dataclasses import replace

    from emofuse.store import FeatureWriter

    assert extract(corpus, *OWN, "--encoder", "logmel").returncode == 0
    with FeatureStore(corpus / "own.h5") as store:
        feature, manifest = store.feature("logmel"), store.manifest
        values = {id: feature.read([id]).values for id in feature.ids}
        spec, lengths = replace(feature.spec), {id: len(v) for id, v in values.items()}
    (corpus / "own.h5").unlink()
    with FeatureWriter(corpus / "own.h5", manifest, spec, lengths) as writer:  # killed after five of eight
        for id in writer.pending[:5]:
            writer.put(id, values[id])
    trial = extract(corpus, *OWN, "--encoder", "logmel", "--limit", "2")
    assert trial.returncode == 0, trial.stderr
    whole = extract(corpus, *OWN, "--encoder", "logmel")
    assert "logmel: 3 utterances encoded" in whole.stdout or "logmel: 2 utterances encoded" in whole.stdout
    with FeatureStore(corpus / "own.h5") as store:
        assert len(store.feature("logmel").ids) == 8


def test_a_clip_of_nan_is_listed_once_and_not_encoded_again(corpus: Path) -> None:
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
    assert "logmel: 1 utterance encoded" in result.stdout, result.stderr
    with FeatureStore(corpus / "own.h5") as store:
        assert store.feature("logmel").damaged() == []


def test_a_cut_that_ends_after_its_file_is_listed(corpus: Path) -> None:
    (corpus / "own" / "own.csv").write_text("id,audio,start,end,label\na,c7.wav,0.5,1.0,x\nb,c7.wav,0.5,9.0,x\n")
    result = extract(corpus, *OWN, "--encoder", "logmel")
    assert result.returncode == 1
    assert "b: audio: lasts 1.80 s, but the utterance ends at 9 s" in result.stderr
    with FeatureStore(corpus / "own.h5") as store:
        assert store.manifest.utterances[0].seconds == pytest.approx(0.5)


def test_the_partial_store_of_a_finished_feature_is_deleted(corpus: Path) -> None:
    assert extract(corpus, *OWN, "--encoder", "hashed").returncode == 0
    shutil.copy(
        corpus / "own.h5", corpus / "own.h5.hashed.part"
    )  # killed between its rename and the removal of the partial store
    again = extract(corpus, *OWN, "--encoder", "hashed")
    assert "nothing to do" in again.stdout
    assert [p.name for p in corpus.glob("own.h5*")] == ["own.h5"]


@pytest.mark.parametrize("stops", [(1,), (5,), (3, 2, 4)], ids=str)
def test_an_interrupted_encoding_resumes_to_the_same_bits(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, stops: tuple[int, ...]
) -> None:
    import tiny_speech_models as speech
    from click.testing import CliRunner

    from emofuse.extract.commands.extract import extract as command
    from emofuse.extract.plan import batching, budget
    from emofuse.store import FeatureWriter

    monkeypatch.chdir(corpus)
    # Three clips or so in each batch, whose values depend on the batch in the last bits.
    monkeypatch.setattr(budget, "DEFAULT_BUDGETS", {"cpu": {"audio": 4.0, "text": 40.0}})
    monkeypatch.setattr(batching, "MAX_PADDING", 1.0)
    (corpus / "hubert").mkdir()
    speech.save(corpus / "hubert", "hubert")
    options = [*OWN, "--encoder", "hubert", "--weights", "hubert", "--dtype", "fp32", "--device", "cpu", "--quiet"]

    def run(store: str) -> int:
        return CliRunner().invoke(command, [*options, "--store", store]).exit_code

    assert run("whole.h5") == 0
    put, left = FeatureWriter.put, 0

    def stopping(writer: FeatureWriter, *utterance: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        put(writer, *utterance)  # type: ignore[arg-type]

    monkeypatch.setattr(FeatureWriter, "put", stopping)
    for left in stops:  # noqa: B007
        assert run("cut.h5") == 130
    left = 0
    assert run("cut.h5") == 0
    with FeatureStore("whole.h5") as whole, FeatureStore("cut.h5") as cut:
        first, second = whole.feature("hubert"), cut.feature("hubert")
        assert first.marks().tolist() == second.marks().tolist()
        assert np.array_equal(first.read(first.ids).values, second.read(first.ids).values)
        assert (second.encoder_seconds() or 0) > 0
