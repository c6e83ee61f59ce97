"""`emofuse pretrain trill`: its run folder, killed runs that resume to the same bytes, and unusable folders."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pretrain_samples import QUICK, pretrain, pretrain_apart, voices

from emofuse.common.disk import tensor_file
from emofuse.common.disk.run_folder import read_csv, read_json
from emofuse.common.errors import DataError, UsageError
from emofuse.extract.audio.clips import probe
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions
from emofuse.extract.pretrain.config import PretrainSettings
from emofuse.extract.pretrain.recordings import PATCH_SECONDS, Patches, _pieces, find_recordings

RUN = ("trill", "--audio", "voices", "--out", "run", "--quiet", *QUICK)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    voices(tmp_path / "voices")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_leaves_a_run_folder_that_extract_takes(folder: Path) -> None:
    done = pretrain(*RUN)
    assert done.exit_code == 0, done.stderr
    assert "next: extract --dataset NAME --encoder trill --weights run" in done.stdout
    names = ["audio.txt", "config.json", "losses.csv", "metrics.json", "model.safetensors"]
    assert sorted(p.name for p in (folder / "run").iterdir()) == names
    rows = read_csv(folder / "run" / "losses.csv")
    assert [row["step"] for row in rows] == ["10", "12"]
    assert all(0 <= float(row["loss"]) < 4.2 and 0 <= float(row["active"]) <= 1 for row in rows)
    listed = dict(line.split("\t") for line in (folder / "run" / "audio.txt").read_text().splitlines())
    assert listed == {
        p.relative_to(folder / "voices").as_posix(): probe(p).digest for p in (folder / "voices").rglob("*.wav")
    }
    about = tensor_file.read_metadata(folder / "run" / "model.safetensors")
    assert about["pretrained_on"] == "5 files, 0.00 hours of audio in voices, without labels"
    assert (about["format"], about["dimension"], about["fitted_on"]) == ("emofuse-trill-1", 512, [])
    encoder = ENCODERS["trill"].build(EncoderOptions(weights=str(folder / "run")))
    assert encoder.provenance()["pretrained_on"] == about["pretrained_on"]
    assert encoder.encode([np.ones(100, np.float32)])[0].shape == (1, 512)
    again = pretrain(*RUN)
    assert again.exit_code == 0
    assert "already done: run holds this run" in again.stdout


def test_without_out_equal_settings_give_the_same_folder(folder: Path) -> None:
    for message in ("loss", "already done"):
        done = pretrain("trill", "--audio", "voices", "--quiet", *QUICK)
        assert message in done.stdout
    (run,) = (folder / "runs").iterdir()
    assert run.name.startswith("pretrain-trill-voices-")


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bytes(folder: Path) -> None:
    settings = ("--steps", "30", "--batch", "4", "--patches", "2", "--seed", "3", "--quiet")
    command = ("trill", "--audio", "voices", *settings, "--out")
    assert pretrain_apart(folder, *command, "whole").returncode == 0
    # A checkpoint at every row of the history, so that the kill comes within a second of the start.
    code = (
        "import emofuse.common.disk.training_checkpoint as s; s.SECONDS = s.SHARE = 0\n"
        "from emofuse.common.umbrella import main; main()"
    )
    command_line = [sys.executable, "-c", code, "pretrain", *command, "killed"]
    process = subprocess.Popen(command_line, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    state, until = folder / "killed.part" / "training.safetensors", time.monotonic() + 60
    while not state.exists() and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < tensor_file.read_metadata(state)["progress"]["step"] < 30
    assert not (folder / "killed").exists()
    other = pretrain_apart(folder, *command, "killed", "--delta", "0.3")
    assert other.returncode == 2
    assert "holds an unfinished run with different settings" in other.stderr
    done = pretrain_apart(folder, *command, "killed")
    assert done.returncode == 0, done.stderr
    assert "resuming from step" in done.stdout
    for name in ("model.safetensors", "losses.csv", "audio.txt"):
        assert (folder / "killed" / name).read_bytes() == (folder / "whole" / name).read_bytes()


def test_a_damaged_checkpoint_is_reported(folder: Path) -> None:
    (folder / "run.part").mkdir()
    (folder / "run.part" / "training.safetensors").write_bytes(b"x" * 100)
    done = pretrain(*RUN)
    assert done.exit_code == 3
    assert "training.safetensors cannot be read" in done.stderr
    assert "delete it, and the run restarts" in done.stderr


@pytest.mark.slow
def test_files_that_cannot_be_used_are_listed_at_the_end(folder: Path) -> None:
    (folder / "voices" / "broken.wav").write_bytes(b"RIFFbroken")
    (folder / "voices" / "empty.flac").touch()
    soundfile.write(folder / "voices" / "short.wav", np.zeros(int(16000 * PATCH_SECONDS) - 1), 16000)
    soundfile.write(folder / "voices" / "nan.wav", np.full(30000, np.nan), 16000, "FLOAT")
    shutil.copy(folder / "voices" / "voice0.wav", folder / "voices" / "voice0 copy.wav")
    (folder / "voices" / "notes.txt").write_text("no audio")
    (folder / "voices" / "._voice0.wav").write_bytes(b"a resource fork")
    done = pretrain_apart(folder, *RUN)
    assert done.returncode == 1
    assert "5 files excluded:" in done.stderr
    for line in (
        "broken.wav: cannot be decoded",
        "empty.flac: is empty (0 bytes)",
        "short.wav: lasts 0.97 s, shorter than one patch (0.975 s)",
        "nan.wav: holds samples that are not numbers",
        "voice0.wav: the same bytes as voice0 copy.wav",
    ):
        assert line in done.stderr
    assert len(read_json(folder / "run" / "metrics.json")["excluded"]) == 5
    assert len((folder / "run" / "audio.txt").read_text().splitlines()) == 5
    again = pretrain_apart(folder, *RUN)
    assert (again.returncode, "5 files excluded:" in again.stderr) == (1, True)


def test_folders_without_audio_are_refused(folder: Path) -> None:
    (folder / "none").mkdir()
    (folder / "none" / "notes.txt").write_text("no audio")
    voices(folder / "one", 1)
    for name, message in (
        ("none", "--audio none contains no audio: looked for .wav, .flac, .ogg, .opus, .mp3, "),
        ("gone", "--audio gone: expected a folder of audio, found nothing there"),
        ("none/notes.txt", "expected a folder of audio, found a file"),
        ("one", "holds 1 recordings that can be used, expected 2 or more"),
    ):
        done = pretrain("trill", "--audio", name, "--quiet")
        assert done.exit_code == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert not (folder / "runs").exists()


def test_wrong_options_are_refused_at_once(folder: Path) -> None:
    done = pretrain("yamnet", "--audio", "voices")
    assert done.exit_code == 2
    assert "no encoder that can be pre-trained named 'yamnet'. Valid: trill." in done.stderr
    done = pretrain("trill", "--audio", "voices", "--dimension", "100", "--delta", "4", "--batch", "1")
    assert done.exit_code == 2
    for message in ("dimension is 100, expected 512 or 2048", "delta is 4.0, expected 0 to", "batch is 1, expected at"):
        assert message in done.stderr


def test_a_learning_rate_that_diverges_is_reported(folder: Path) -> None:
    done = pretrain(*RUN, "--lr", "1e30")
    assert done.exit_code == 2
    assert "the loss is nan by step 10: lower the learning rate, --lr 1e+29" in done.stderr


def test_help_is_quick() -> None:
    code = (
        "import sys, emofuse.extract.commands.pretrain\n"
        "print([m for m in ('torch', 'onnxruntime', 'sklearn', 'soundfile') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("seconds", [0.975, 1.0, 10.9, 10.975, 11.0, 35.2])
def test_pieces_cover_a_recording_and_every_patch_lies_in_one(seconds: float) -> None:
    pieces = _pieces(7, seconds, 10.0)
    assert pieces[0].start == 0
    assert pieces[-1].end is None
    assert seconds - pieces[-1].start >= PATCH_SECONDS
    assert seconds - pieces[-1].start <= 10 + PATCH_SECONDS + 1e-9
    for before, after in pairwise(pieces):
        assert before.end == pytest.approx(after.start + PATCH_SECONDS)


def test_batches_follow_from_seed_and_step_alone(folder: Path) -> None:
    long = np.random.default_rng(0).normal(0, 0.1, 16000 * 5)
    soundfile.write(folder / "voices" / "long.wav", long, 16000)
    recordings, _ = find_recordings(folder / "voices", quiet=True)
    settings = PretrainSettings(batch=6, patches=3, tau=1.0, seed=1)
    patches = Patches(folder / "voices", recordings, settings)
    ahead, fresh = patches.batches(4), Patches(folder / "voices", recordings, settings)
    for step in (4, 5, 6):
        one, other = next(ahead), fresh.batch(step)
        assert one.patches.shape == (18, 96, 64)
        assert all((getattr(one, k) == getattr(other, k)).all() for k in ("patches", "recordings", "seconds"))
        seconds = one.seconds.reshape(6, 3)
        assert float((seconds.amax(1) - seconds.amin(1)).max()) <= 1.0
    assert not (fresh.batch(1).patches == fresh.batch(2).patches).all()


def test_a_recording_that_vanishes_is_reported(folder: Path) -> None:
    recordings, _ = find_recordings(folder / "voices", quiet=True)
    for path in (folder / "voices").rglob("*.wav"):
        path.unlink()
    with pytest.raises(DataError, match=r"voice\d.wav cannot be opened: No such file"):
        Patches(folder / "voices", recordings, PretrainSettings()).batch(0)


def test_rates_rise_and_fall() -> None:
    settings = PretrainSettings(steps=100, lr=1.0, warmup=0.1)
    rates = [settings.rate(step) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert max(rates) == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.01
    with pytest.raises(UsageError, match="lr is -1, expected more than 0"):
        PretrainSettings(lr=-1)
