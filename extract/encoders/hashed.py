"""One fixed vector per word, made by hashing: text features without weights, equal on every machine.

A text is lower-cased and split into words and punctuation marks. A word's vector is the sum of the vectors of its
keys: the word itself and its character n-grams between boundary marks, as in fastText (Bojanowski et al. 2017,
https://arxiv.org/abs/1607.04606, section 3.2). Words that share a stem are therefore similar. A key's vector consists
of the bytes of its xxh3 digests; sums of integers and one division keep the result independent of platform and library.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import numpy as np
import xxhash

from emofuse.extract.encoders.base import (
    ENCODERS,
    Array,
    EncoderDefaults,
    EncoderOptions,
    EncoderSpec,
    Modality,
    SpanFinder,
    Spans,
    refuse_pretrained_options,
)

DIMENSION = 128
NGRAMS = (3, 4)
_DIGEST_BYTES = 16
# Mean and variance of a byte that is uniform over 0..255.
_BYTE_MEAN, _BYTE_VARIANCE = 127.5, (256**2 - 1) / 12
_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


class Hashed(EncoderDefaults):
    """One vector of unit variance per word or punctuation mark."""

    @property
    def modality(self) -> Modality:
        """Texts."""
        return "text"

    @property
    def dimension(self) -> int:
        """128."""
        return DIMENSION

    @property
    def layers(self) -> tuple[int, ...]:
        """No layer axis."""
        return ()

    @property
    def frame_rate(self) -> None:
        """Words have no rate."""

    @property
    def sample_rate(self) -> None:
        """Reads no audio."""

    def identity(self) -> dict[str, Any]:
        """How texts are split and hashed."""
        return {
            "encoder": "hashed",
            "version": 1,
            "dimension": DIMENSION,
            "words": f"NFC, lower case, {_WORD.pattern}",
            "ngrams": list(NGRAMS),
            "hash": "xxh3_128",
            "empty_text": "the vector of the empty word",
        }

    def provenance(self) -> dict[str, Any]:
        """The version of xxhash; nothing is learned."""
        return {"libraries": {"xxhash": xxhash.VERSION}, "pretrained_on": None, "fitted_on": []}

    def length(self, item: int | str) -> int:
        """Number of words and punctuation marks of a text, at least 1."""
        return len(words(cast(str, item)))

    def encode(self, items: Sequence[Array] | Sequence[str]) -> list[Array]:
        """One array [T_i, 128] per text."""
        return [np.stack([word_vector(w) for w in words(cast(str, text))]) for text in items]


def words(text: str) -> list[str]:
    """The lower-cased words and punctuation marks of a text; an empty text gives one empty word."""
    return _WORD.findall(_normal(text)) or [""]


def word_spans(text: str) -> Spans:
    """The characters of the text that each of its `words` is of; (0, 0) for the empty word."""
    spans = [span for run in re.finditer(r"\S+", text) for span in _spans_within(run.group(), run.start())]
    return spans or [(0, 0)]


def _spans_within(run: str, start: int) -> Iterator[tuple[int, int]]:
    """The same for a text without spaces that begins at `start`."""
    normal = _normal(run)
    # Normalisation and lower case can change lengths: where a prefix ends in the text and in its normal form.
    ends = range(len(run) + 1) if len(normal) == len(run) else [len(_normal(run[:i])) for i in range(len(run) + 1)]
    for word in _WORD.finditer(normal):
        first, last = (max(0, bisect_right(ends, place) - 1) for place in word.span())
        yield start + first, start + last + (ends[last] < word.end())


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text).lower()


@lru_cache(maxsize=65536)
def word_vector(word: str) -> Array:
    """The vector [128] of a word: the sum over its keys, scaled to unit variance."""
    bounded = f"<{word}>"
    ngrams = {bounded[i : i + n] for n in NGRAMS for i in range(len(bounded) - n + 1)} - {bounded}
    keys = [f"word {word}", *(f"gram {ngram}" for ngram in sorted(ngrams))]
    total = np.zeros(DIMENSION, dtype=np.int64)
    for key in keys:
        total += _key_bytes(key)
    centred = total.astype(np.float64) - _BYTE_MEAN * len(keys)
    vector: Array = (centred / np.sqrt(_BYTE_VARIANCE * len(keys))).astype(np.float32)
    vector.setflags(write=False)  # the cache shares it between all occurrences of the word
    return vector


def _key_bytes(key: str) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """The 128 digest bytes of a key."""
    encoded = key.encode("utf-8", "surrogatepass")
    digests = (xxhash.xxh3_128_digest(encoded, seed=seed) for seed in range(DIMENSION // _DIGEST_BYTES))
    return np.frombuffer(b"".join(digests), dtype=np.uint8)


def _token_spans(weights: str | None, fingerprint: Mapping[str, Any]) -> SpanFinder:
    return lambda texts: [word_spans(text) for text in texts]


def _build(options: EncoderOptions) -> Hashed:
    refuse_pretrained_options("hashed", options)
    return Hashed()


ENCODERS.add(
    "hashed",
    "a fixed vector per word by hashing; no weights, no download; 128-d",
    EncoderSpec(modality="text", feature="hashed", pretrained=False, build=_build, token_spans=_token_spans),
)
