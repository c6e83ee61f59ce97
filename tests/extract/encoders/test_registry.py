"""What holds for every registered encoder before it is built."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from emofuse.common.errors import UnknownNameError
from emofuse.extract.encoders.registry import ENCODERS, FAMILIES, EncoderOptions

NAMES = ENCODERS.names()
PLAIN = [e.name for e in ENCODERS if not e.value.pretrained]


def test_the_encoders_of_the_papers_are_there() -> None:
    audio = {
        "logmel",
        "logmel-smcn",
        "logmel-mcfn",
        "hubert",
        "hubert-large",
        "wav2vec2",
        "wavlm",
        "whisper",
        "wavlm-large",
        "xlsr",
        "unispeech-sat",
        "data2vec-audio",
        "prosody",
        "emotion2vec",
        "beats",
        "clap",
        "hf-audio",
        "vggish",
        "yamnet",
        "trill",
    }
    text = {
        "bert",
        "roberta",
        "mpnet",
        "t5",
        "minilm",
        "hf-text",
        "hashed",
        "bert-goemotions",
        "distilbert-goemotions",
        "deberta",
        "e5",
        "e5-multilingual",
        "bge",
    }
    assert {e.name for e in ENCODERS if e.value.modality == "audio"} >= audio
    assert {e.name for e in ENCODERS if e.value.modality == "text"} >= text


@pytest.mark.parametrize("name", NAMES)
def test_entries_are_complete(name: str) -> None:
    entry = next(e for e in ENCODERS if e.name == name)
    assert entry.description
    assert "\n" not in entry.description
    assert entry.value.modality in ("audio", "text")
    assert entry.value.feature
    assert "/" not in entry.value.feature


def test_an_unknown_name_lists_the_valid_ones_and_the_nearest() -> None:
    with pytest.raises(
        UnknownNameError, match=r"no encoder named 'huber'\. Did you mean 'hubert'\? Valid: beats, .*whisper"
    ):
        ENCODERS["huber"]


@pytest.mark.parametrize("name", PLAIN)
def test_encoders_without_weights_keep_the_contract(name: str) -> None:
    spec = ENCODERS[name]
    encoder = spec.build(EncoderOptions(corpus="iemocap"))
    items = (
        [np.zeros(3000, np.float32), np.ones(9000, np.float32)] if spec.modality == "audio" else ["yes", "not at all!"]
    )
    for item, frames in zip(items, encoder.encode(items), strict=True):
        size = len(item) if spec.modality == "audio" else item
        assert frames.shape == (encoder.length(size), encoder.dimension)
        assert frames.dtype == np.float32
        np.testing.assert_array_equal(frames, encoder.encode([item])[0])
    assert encoder.modality == spec.modality
    assert encoder.layers == ()
    assert (encoder.sample_rate is None) == (spec.modality == "text")
    assert encoder.frame_rate is None or spec.modality == "audio"
    assert encoder.provenance()["fitted_on"] == []
    assert encoder.identity()["version"] >= 1


def test_listing_the_encoders_loads_nothing_heavy() -> None:
    heavy = "('torch', 'torchaudio', 'transformers', 'huggingface_hub', 'av', 'soundfile')"
    code = (
        "import sys; import emofuse.extract.audio.clips; from emofuse.extract.encoders.registry import ENCODERS; "
        f"print([m for m in {heavy} if m in sys.modules], len(ENCODERS.names()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("] ")[0] == "["
    assert int(done.stdout.split("] ")[1]) == len(NAMES)


def test_every_family_is_named_once() -> None:
    assert len(set(FAMILIES)) == len(FAMILIES) == 13
