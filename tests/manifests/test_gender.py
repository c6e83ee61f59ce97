"""The gender of speakers, by the rule of each corpus."""

from __future__ import annotations

from typing import Any

import pytest

from emofuse.manifests.gender import gender_of
from emofuse.manifests.schema import Utterance


def utterance(speaker: str | None, **extra: Any) -> Utterance:
    return Utterance(id="u", text="words", speaker=speaker, extra=extra)


@pytest.mark.parametrize(
    ("corpus", "speaker", "expected"),
    [
        ("iemocap", "Ses01F", "female"),
        ("iemocap", "Ses05M", "male"),
        ("ravdess", "Actor_01", "male"),
        ("ravdess", "Actor_24", "female"),
        ("emodb", "03", "male"),
        ("emodb", "16", "female"),
        ("emodb", "99", None),
        ("savee", "DC", "male"),
        ("meld", "Ross", None),
        ("", "savee:KL", "male"),
        ("", "iemocap:Ses02F", "female"),
        ("", "own:F", None),
        ("savee", None, None),
    ],
)
def test_the_corpus_decides(corpus: str, speaker: str | None, expected: str | None) -> None:
    assert gender_of(utterance(speaker), corpus) == expected


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"sex": "F"}, "female"),
        ({"gender": " Male "}, "male"),
        ({"gender": "non-binary"}, "non-binary"),
        ({"gender": ""}, None),
    ],
)
def test_a_manifest_that_states_it_comes_first(extra: Any, expected: str | None) -> None:
    assert gender_of(utterance("DC", **extra), "savee") == expected
