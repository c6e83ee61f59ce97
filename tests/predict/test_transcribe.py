"""Recordings without words, for a run that reads words: a recogniser writes them."""

from __future__ import annotations

from pathlib import Path

import asr_samples
import numpy as np
import predict_samples as samples
import pytest
import soundfile

from emofuse.common.errors import UsageError
from emofuse.train import Run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = samples.corpus(tmp_path_factory.mktemp("words"))
    asr_samples.save_ctc(folder / "ctc")
    soundfile.write(folder / "said.wav", asr_samples.tone(["a", "o"]), 16000)
    soundfile.write(folder / "silent.wav", np.zeros(4000, np.float32), 16000)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return samples.run(folder, "run", "concat")


def test_recognised_words_are_predicted_as_the_same_words_given_by_hand(folder: Path, run: Run) -> None:
    lines: list[str] = []
    from emofuse.predict import predict

    found = predict(
        run=run.folder,
        inputs=[folder / "said.wav", folder / "silent.wav"],
        transcribe=str(folder / "ctc"),
        device="cpu",
        quiet=True,
        say=lines.append,
    )
    (said,) = found.rows
    assert said.text == "a o"
    by_hand = samples.asked(run, inputs=folder / "said.wav", text="a o").rows[0]
    assert by_hand.text is None
    assert said.probabilities == pytest.approx(by_hand.probabilities, abs=1e-5)
    assert [(Path(item.id).name, item.reason.partition(" by ")[0]) for item in found.excluded] == [
        ("silent.wav", "text: no words were recognised")
    ]
    assert any("the run was trained on transcripts" in line for line in lines)


def test_each_window_gets_the_words_that_are_said_in_it(folder: Path, run: Run, tmp_path: Path) -> None:
    first, second = asr_samples.tone(["a", "o"]), asr_samples.tone(["u"])
    soundfile.write(tmp_path / "two.wav", np.concatenate([first, second]), 16000)
    found = samples.asked(run, inputs=tmp_path / "two.wav", transcribe=str(folder / "ctc"), window=len(first) / 16000)
    assert [row.text for row in found.rows] == ["a o", "u", None]


def test_a_run_of_text_alone_hears_recordings(folder: Path) -> None:
    text_run = samples.run(folder, "text-run", "text")
    (row,) = samples.asked(text_run, inputs=folder / "said.wav", transcribe=str(folder / "ctc")).rows
    assert (row.text, row.end is not None) == ("a o", True)


def test_a_run_of_audio_alone_transcribes_nothing(folder: Path) -> None:
    audio_run = samples.run(folder, "audio-run", "audio")
    with pytest.raises(UsageError, match="transcribe has no effect"):
        samples.asked(audio_run, inputs=folder / "said.wav", transcribe=str(folder / "ctc"))
