"""What a recogniser invents where nobody speaks: known by its own signs, and not kept.

The thresholds of repetition and of silence are those of Whisper's authors (Radford et al., 2022, section 4.5).
"""

from __future__ import annotations

import zlib

MOST_REPETITIVE = 2.4
"""Bytes of a text over bytes of its compressed form; more means that it repeats itself."""
PROBABLY_NO_SPEECH, UNSURE_OF_WORDS = 0.6, -1.0
"""Above this probability of no speech, and below this mean log probability of the words, nobody speaks."""
SURELY_NO_SPEECH = 0.9
"""Above it nobody speaks, however sure the words are: of digital silence Whisper says "you", quite sure of it."""
WORDS_PER_SECOND, WORDS_AT_ONCE = 8.0, 3.0
"""A clip of s seconds holds at most WORDS_AT_ONCE + WORDS_PER_SECOND * s words; fast speech has 5 or 6 a second."""


TOKENS_PER_SECOND, TOKENS_AT_ONCE = 50.0, 30.0
"""As with words; scripts that Whisper spells in bytes take several tokens a letter."""


def most_tokens(seconds: float) -> int:
    """How many tokens a clip can hold; decoding stops there."""
    return round(TOKENS_AT_ONCE + TOKENS_PER_SECOND * seconds)


def doubt(text: str, seconds: float, no_speech: float | None = None, log_probability: float | None = None) -> str:
    """Why a recognised text is not kept, in a few words; empty for a text that may have been said.

    Args:
        text: What was recognised in one segment.
        seconds: The length of the segment.
        no_speech: The probability that nobody speaks, where the model gives one.
        log_probability: Of the text's tokens, their mean, where it is known.
    """
    written, words = text.strip().encode(), len(text.split())
    if not written:
        return ""
    if len(written) / len(zlib.compress(written)) > MOST_REPETITIVE:
        return "it repeats itself"
    if words > WORDS_AT_ONCE + WORDS_PER_SECOND * seconds:
        return f"{words} words in {seconds:.1f} s"
    unsure = log_probability is not None and log_probability < UNSURE_OF_WORDS
    if no_speech is not None and no_speech > (PROBABLY_NO_SPEECH if unsure else SURELY_NO_SPEECH):
        return "probably nobody speaks"
    return ""
