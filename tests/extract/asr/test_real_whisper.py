"""Real speech by the real Whisper-base: German and English sentences word for word, and nothing where nobody speaks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from paths import SHARED

from emofuse.extract.asr.recogniser import Recogniser, load_recogniser
from emofuse.extract.audio.clips import load

TOOL, CLIPS = SHARED / "tools" / "real_weights.py", SHARED / "data" / "emodb" / "wav"
SAID = {"03a01Fa": "Der Lappen liegt auf dem Eisschrank", "03a02Fc": "Das will sie am Mittwoch abgeben"}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "whisper"
    if not TOOL.is_file():
        pytest.skip(f"{TOOL} is not here")
    made = subprocess.run([sys.executable, str(TOOL), "whisper", str(folder)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"the real weights cannot be had here: {made.stderr.strip().splitlines()[-1]}")
    return folder


def said(loaded: Recogniser) -> dict[str, str]:
    found = {id: loaded.transcribe([load(CLIPS / f"{id}.wav", loaded.sample_rate)])[0] for id in SAID}
    return {id: one.text.rstrip(".!") for id, one in found.items()}


@pytest.mark.parametrize("language", ["de", "auto"])
def test_german_sentences_are_recognised_and_silence_is_not(whisper: Path, language: str) -> None:
    loaded = load_recogniser(str(whisper), "cpu", language)
    assert said(loaded) == SAID
    noise = np.random.default_rng(0).normal(0, 0.02, 32000).astype(np.float32)
    nothing = loaded.transcribe([np.zeros(40000, np.float32), noise])
    assert [one.text for one in nothing] == ["", ""]
    assert all(one.doubt for one in nothing)
