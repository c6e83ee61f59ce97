"""Utterances and manifests: invalid ones are refused, and written ones are read back unchanged."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emofuse.common.errors import UsageError
from emofuse.manifests.jsonl import SCHEMA_VERSION, read_manifest, write_manifest
from emofuse.manifests.schema import Excluded, Manifest, Utterance, utterance_problems

FULL = Utterance(
    id="s1_t1",
    audio="wav/a.wav",
    start=0.25,
    end=1.5,
    seconds=1.25,
    audio_digest="00ff",
    text="I’m “here”\u2028and there\x85now\n",
    label="joy",
    speaker="ann",
    session="1",
    dialogue="s1",
    turn=0,
    split="train",
    extra={"valence": 2.5, "sentiment": "positive"},
)


def manifest(*utterances: Utterance, excluded: tuple[Excluded, ...] = ()) -> Manifest:
    return Manifest(corpus="lab", reader="lab-1", utterances=utterances, excluded=excluded)


def spoken(*ids: str) -> tuple[Utterance, ...]:
    return tuple(Utterance(id=i, text=i, label=i[0]) for i in ids)


def test_a_written_manifest_is_read_back_unchanged(tmp_path: Path) -> None:
    gone = (Excluded(id="x", reason="no label"), Excluded(id="s1_t1", reason="why not", modality="audio"))
    written = manifest(FULL, *spoken("b"), excluded=gone)
    write_manifest(written, tmp_path / "deep/m.jsonl")
    assert read_manifest(tmp_path / "deep/m.jsonl") == written
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["m.jsonl"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(st.characters(exclude_categories=("Cs",))),
    start=st.none() | st.floats(0, 1e6),
    extra=st.dictionaries(st.text(st.characters(exclude_categories=("Cs",)), max_size=5), st.floats(allow_nan=False)),
)
def test_any_text_and_number_is_read_back_unchanged(
    text: str, start: float | None, extra: dict[str, float], tmp_path: Path
) -> None:
    written = manifest(Utterance(id="a", text=text, start=start, extra=extra))
    write_manifest(written, tmp_path / "m.jsonl")
    back = read_manifest(tmp_path / "m.jsonl")
    assert back == written
    assert back.digest() == written.digest()


def test_the_first_line_names_corpus_reader_and_counts(tmp_path: Path) -> None:
    write_manifest(manifest(FULL, excluded=(Excluded(id="x", reason="y"),)), tmp_path / "m.jsonl")
    header, row, gone = (json.loads(line) for line in (tmp_path / "m.jsonl").read_text().split("\n")[:3])
    assert header == {
        "emofuse-manifest": SCHEMA_VERSION,
        "corpus": "lab",
        "reader": "lab-1",
        "utterances": 1,
        "excluded": 1,
    }
    assert row["id"] == "s1_t1"
    assert gone == {"excluded": True, "id": "x", "reason": "y"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"id": ""}, "is empty or has control characters"),
        ({"id": "a\x1b[31m"}, "is empty or has control characters"),
        ({"audio": "/etc/a.wav"}, "leaves the corpus root"),
        ({"audio": "a/../../b.wav"}, "leaves the corpus root"),
        ({"start": -1.0}, "must be finite and not negative"),
        ({"end": float("inf")}, "must be finite and not negative"),
        ({"seconds": float("nan")}, "must be finite and not negative"),
        ({"start": 2.0, "end": 1.0}, "ends at 1.0 s before it starts at 2.0 s"),
        ({"audio": None, "text": None}, "has neither audio nor text"),
    ],
)
def test_an_impossible_utterance_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        manifest(replace(FULL, **wrong))
    assert utterance_problems([FULL]) == []


def test_every_mistake_of_a_manifest_is_named_at_once() -> None:
    with pytest.raises(UsageError, match=r"(?s)'a' occurs twice.*b: has neither audio nor text"):
        manifest(*spoken("a", "a"), Utterance(id="b"))


def test_the_digest_changes_with_any_field_and_nothing_else() -> None:
    changes: list[dict[str, Any]] = [{"text": "other"}, {"label": "sad"}, {"turn": 1}, {"extra": {"valence": 2.0}}]
    digests = {manifest(replace(FULL, **c)).digest() for c in [{}, *changes]}
    assert len(digests) == 1 + len(changes)
    turned = replace(FULL, extra=dict(reversed(FULL.extra.items())))
    assert manifest(turned).digest() == manifest(FULL, excluded=(Excluded(id="x", reason="y"),)).digest()


def test_counts_hours_and_modalities() -> None:
    m = manifest(*spoken("a1", "a2", "b1"), replace(FULL, seconds=1800.0))
    assert m.counts("label") == {"a": 2, "b": 1, "joy": 1}
    assert m.counts("session") == {"1": 1}
    assert m.hours == 0.5
    assert m.has("audio")
    assert not manifest(*spoken("a")).has("audio")


def test_excluding_a_modality_keeps_the_other_one() -> None:
    lost = [
        Excluded(id="s1_t1", reason="unreadable", modality="audio"),
        Excluded(id="b", reason="empty", modality="text"),
    ]
    m = manifest(FULL, *spoken("b", "c")).excluding(lost)
    assert m.ids == ["s1_t1", "c"]
    assert m.utterances[0] == replace(FULL, audio=None)
    assert [e.reason for e in m.excluded] == ["unreadable", "empty"]
    assert manifest(FULL).excluding([Excluded(id="s1_t1", reason="no label")]).ids == []


def test_a_partly_reread_corpus_keeps_its_order_and_the_rest() -> None:
    older = manifest(*spoken("a", "b", "c"), excluded=(Excluded(id="d", reason="unreadable"),))
    fresh = manifest(replace(spoken("b")[0], text="new"), *spoken("d"))
    merged = fresh.merged_into(older)
    assert merged.ids == ["a", "b", "c", "d"]
    assert merged.utterances[1].text == "new"
    assert merged.excluded == ()
    assert fresh.merged_into(None) == fresh


@pytest.mark.parametrize(("n", "limit"), [(10, 3), (10, 10), (3, 10), (7, 1)])
def test_a_sample_is_spread_evenly(n: int, limit: int) -> None:
    m = manifest(*spoken(*(f"u{i}" for i in range(n))))
    kept = [int(i[1:]) for i in m.sample(limit).ids]
    assert len(kept) == min(n, limit)
    assert kept == sorted(set(kept))
    assert all(b - a <= n / min(n, limit) + 1 for a, b in itertools.pairwise(kept))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "has no header row|is not JSON"),
        ('{"id": "a", "text": "x"}\n', "has no header row"),
        ('{"emofuse-manifest": 99}\n', f"version 99, newer than {SCHEMA_VERSION}: update emofuse"),
        ('{"emofuse-manifest": "one"}\n', "version 'one', expected a number"),
        ("not json\n", ":1 is not JSON"),
        ('{"emofuse-manifest": 1}\n[1]\n', ":2 holds list, expected one JSON object per line"),
        ('{"emofuse-manifest": 1}\n{"id": "a", "txt": "x"}\n', "a: unknown keys txt; known: audio"),
        ('{"emofuse-manifest": 1}\n{"text": "x"}\n', "row without id: incomplete row"),
        ('{"emofuse-manifest": 1}\n{"id": "a", "start": "soon"}\n', "a: start is 'soon'"),
        ('{"emofuse-manifest": 1}\n{"id": "a", "extra": 3}\n', "a: extra is 3"),
        ('{"emofuse-manifest": 1}\n{"excluded": true, "id": "a"}\n', "a: incomplete row"),
        (
            '{"emofuse-manifest": 1, "utterances": 2, "excluded": 0}\n{"id": "a", "text": "x"}\n',
            r"declares \(2, 0\) utterances and excluded items but holds \(1, 0\): it was cut or edited",
        ),
    ],
)
def test_files_that_are_not_manifests(lines: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text(lines)
    with pytest.raises(UsageError, match=message):
        read_manifest(tmp_path / "m.jsonl")


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no manifest at"):
        read_manifest(tmp_path / "absent.jsonl")
    (tmp_path / "m.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is not UTF-8"):
        read_manifest(tmp_path / "m.jsonl")
