"""Hashed word vectors: equal everywhere, of unit variance, similar for similar words."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emofuse.common.errors import UsageError
from emofuse.extract.encoders.hashed import Hashed, word_spans, word_vector, words
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions

ENCODER = Hashed()
GOLDEN = {
    "happy": [-0.7830780744552612, -0.4450279772281647, 0.6932166218757629, 0.6547046303749084],
    "": [0.6562898755073547, 0.08795637637376785, 1.6982346773147583, 1.2787504196166992],
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I don't KNOW...", ["i", "don't", "know", ".", ".", "."]),
        ("It’s me, 42 times!", ["it’s", "me", ",", "42", "times", "!"]),
        ("'quoted'", ["'", "quoted", "'"]),
        ("Cafe\u0301", ["café"]),
        ("中文 ok", ["中文", "ok"]),
        ("", [""]),
        (" \n\t", [""]),
    ],
)
def test_how_texts_are_split(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_the_characters_of_each_word() -> None:
    text = "  I don't KNOW... Cafe\u0301, İt ok"
    spelled = [text[start:end] for start, end in word_spans(text)]
    assert spelled == ["I", "don't", "KNOW", ".", ".", ".", "Cafe\u0301", ",", "İ", "İ", "t", "ok"]
    assert word_spans(" \n") == [(0, 0)]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_every_word_has_characters_in_order(text: str) -> None:
    spans = word_spans(text)
    assert len(spans) == len(words(text))
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert spans == sorted(spans)


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_any_text_gives_as_many_frames_as_it_says(text: str) -> None:
    frames = ENCODER.encode([text])[0]
    assert frames.shape == (ENCODER.length(text), 128)
    assert len(frames) >= 1
    assert frames.dtype == np.float32
    assert np.isfinite(frames).all()


def test_the_values_are_these_on_every_machine() -> None:
    np.testing.assert_array_equal(word_vector("happy")[:4], np.float32(GOLDEN["happy"]))
    np.testing.assert_array_equal(word_vector("")[:4], np.float32(GOLDEN[""]))


def test_another_process_with_another_hash_seed_gives_the_same_bits() -> None:
    code = (
        "import sys; from emofuse.extract.encoders.hashed import Hashed; "
        "sys.stdout.write(Hashed().encode(['so happy'])[0].tobytes().hex())"
    )
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        assert done.stdout == ENCODER.encode(["so happy"])[0].tobytes().hex()


def test_vectors_have_mean_zero_and_unit_variance() -> None:
    many = np.concatenate(ENCODER.encode([f"word{i} {i * 7919}" for i in range(500)]))
    assert abs(many.mean()) < 0.02
    assert abs(many.std() - 1) < 0.05


def test_words_that_share_a_stem_lie_near_each_other() -> None:
    def similarity(a: str, b: str) -> float:
        return float(np.corrcoef(word_vector(a), word_vector(b))[0, 1])

    assert similarity("happiness", "happily") > 0.25
    assert similarity("happiness", "happily") > similarity("happiness", "terrible") + 0.2
    assert abs(similarity("no", "go")) < 0.35
    assert similarity("Happy".lower(), "happy") == pytest.approx(1.0)


def test_frames_do_not_depend_on_their_neighbours() -> None:
    np.testing.assert_array_equal(ENCODER.encode(["not happy"])[0][1], ENCODER.encode(["x", "HAPPY days"])[1][0])


def test_encoded_arrays_are_the_callers_own() -> None:
    frames = ENCODER.encode(["happy"])[0]
    frames[:] = 0
    assert np.abs(ENCODER.encode(["happy"])[0]).max() > 0


def test_it_takes_no_option_that_has_no_effect() -> None:
    with pytest.raises(UsageError, match="encoder hashed has no weights: leave out --weights x"):
        ENCODERS["hashed"].build(EncoderOptions(weights="x"))
    assert ENCODERS["hashed"].build(EncoderOptions(device="cuda:0")).identity() == ENCODER.identity()
