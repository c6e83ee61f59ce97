"""Invented texts have a reason not to be kept; texts that may have been said have none."""

from __future__ import annotations

import pytest

from emofuse.extract.asr.doubt import doubt

SENTENCE = "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück."


@pytest.mark.parametrize(
    ("text", "seconds", "why"),
    [
        ("", 2.0, ""),
        (SENTENCE, 2.7, ""),
        ("no no no no", 1.5, ""),
        ("you " * 400, 2.7, "it repeats itself"),
        ("the same three words " * 30, 29.0, "it repeats itself"),
        ("Thank you for watching my video", 0.3, "6 words in 0.3 s"),
        ("You", 0.1, ""),
    ],
)
def test_texts_that_cannot_have_been_said_have_a_reason(text: str, seconds: float, why: str) -> None:
    assert doubt(text, seconds) == why


@pytest.mark.parametrize(
    ("no_speech", "log_probability", "why"),
    [
        (0.8, -1.5, "probably nobody speaks"),
        (0.8, -0.3, ""),
        (0.95, -0.3, "probably nobody speaks"),
        (0.1, -1.5, ""),
        (0.9, None, ""),
        (None, -2.0, ""),
    ],
)
def test_silence_is_believed_with_unsure_words_or_when_it_is_sure(
    no_speech: float | None, log_probability: float | None, why: str
) -> None:
    assert doubt(SENTENCE, 2.7, no_speech, log_probability) == why
