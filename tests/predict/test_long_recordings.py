"""Recordings that are cut into windows, whatever format they are in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import predict_samples as samples
import pytest
import soundfile
from numpy.typing import NDArray

from emofuse.common.errors import UsageError
from emofuse.extract.audio.clips import load
from emofuse.predict import stream
from emofuse.train import Run

RATE = 16000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.corpus(tmp_path_factory.mktemp("long"))


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return samples.run(folder, "run", "linear", text=None)


def speech(folder: Path, seconds: float) -> NDArray[np.float32]:
    """The corpus's clips one after the other, [samples]."""
    clips = [load(path, RATE) for path in sorted((folder / "corpus" / "wav").glob("*.wav"))]
    return np.resize(np.concatenate(clips), round(seconds * RATE))


def test_a_timeline_has_what_its_windows_have_by_themselves_and_their_mean(
    folder: Path, run: Run, tmp_path: Path
) -> None:
    samples_of = speech(folder, 5.5)
    soundfile.write(tmp_path / "long.wav", samples_of, RATE)
    found = samples.asked(run, inputs=tmp_path / "long.wav", window=2, hop=1)
    *windows, mean = found.rows
    assert [(w.start, w.end, w.kind) for w in windows] == [
        (0, 2, "window"), (1, 3, "window"), (2, 4, "window"), (3, 5, "window"), (4, 5.5, "window"),
    ]  # fmt: skip
    assert {row.id for row in found.rows} == {str(tmp_path / "long.wav")}
    soundfile.write(tmp_path / "piece.wav", samples_of[RATE : 3 * RATE], RATE)
    alone = samples.asked(run, inputs=tmp_path / "piece.wav").rows[0]
    assert windows[1].probabilities == pytest.approx(alone.probabilities, abs=1e-5)
    weights = [2, 2, 2, 2, 1.5]
    expected = {c: np.average([w.probabilities[c] for w in windows], weights=weights) for c in alone.probabilities}
    assert (mean.kind, mean.start, mean.end) == ("mean", 0, 5.5)
    assert mean.probabilities == pytest.approx(expected, abs=1e-5)


def test_a_recording_of_more_than_30_seconds_is_cut_into_segments(folder: Path, run: Run, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", speech(folder, 40), RATE)
    short = tmp_path / "short.wav"
    soundfile.write(short, speech(folder, 3), RATE)
    rows = samples.asked(run, inputs=[tmp_path / "long.wav", short]).rows
    assert [(row.kind, row.start, row.end) for row in rows] == [
        ("window", 0, 30), ("window", 30, 40), ("mean", 0, 40), ("clip", 0, 3),
    ]  # fmt: skip


def test_a_compressed_recording_gives_the_windows_of_its_samples(
    folder: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "long.ogg", speech(folder, 6), RATE)
    decoded = load(tmp_path / "long.ogg", RATE)
    soundfile.write(tmp_path / "long.wav", decoded, RATE, subtype="FLOAT")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    both = samples.asked(run, inputs=[tmp_path / "long.ogg", tmp_path / "long.wav"], window=2, hop=0.5)
    ogg, wav = ([r.probabilities for r in both.rows if r.id.endswith(suffix)] for suffix in ("ogg", "wav"))
    assert len(ogg) == 10
    assert ogg == [pytest.approx(row, abs=1e-5) for row in wav]


def test_the_words_of_a_clip_cannot_be_divided_among_windows(folder: Path) -> None:
    fused = samples.run(folder, "fused", "concat")
    with pytest.raises(UsageError, match=r"window cannot divide the words of a clip.*--transcribe"):
        samples.asked(fused, inputs=folder / "corpus" / "synthetic.csv", window=2)


def test_windows_of_a_run_that_reads_text_alone_have_no_effect(folder: Path) -> None:
    text_run = samples.run(folder, "text-run", "text")
    with pytest.raises(UsageError, match=r"window has no effect: .* read text alone"):
        samples.asked(text_run, text="so good", window=2)


@pytest.mark.parametrize(("most_windows", "most_seconds"), [(2, 300.0), (256, 3.0)])
def test_small_batches_give_the_same_rows_in_the_same_order(
    folder: Path,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    most_windows: int,
    most_seconds: float,
) -> None:
    soundfile.write(tmp_path / "a.ogg", speech(folder, 5), RATE)
    soundfile.write(tmp_path / "b.wav", speech(folder, 4), RATE)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    inputs = [tmp_path / "a.ogg", tmp_path / "broken.wav", tmp_path / "b.wav"]
    at_once = samples.asked(run, inputs=inputs, window=2, hop=1)
    monkeypatch.setattr(stream, "MOST_WINDOWS", most_windows)
    monkeypatch.setattr(stream, "MOST_SECONDS", most_seconds)
    found = samples.asked(run, inputs=inputs, window=2, hop=1)
    assert found.excluded == at_once.excluded
    assert [(r.id, r.kind, r.start, r.end) for r in found.rows] == [
        (r.id, r.kind, r.start, r.end) for r in at_once.rows
    ]
    for row, expected in zip(found.rows, at_once.rows, strict=True):
        assert row.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
