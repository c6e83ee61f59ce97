"""Malicious manifests: their paths stay inside the corpus folder, and odd rows are reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emofuse.common.errors import UsageError
from emofuse.manifests.jsonl import read_manifest, write_manifest
from emofuse.manifests.schema import Manifest, Utterance

PATHS = [
    "../../etc/passwd",
    "/etc/passwd",
    "a/../../b.wav",
    "C:\\x.wav",
    "C:x.wav",
    "..\\..\\x.wav",
    "\\\\host\\x",
    "a\0b",
]


@pytest.mark.parametrize("where", PATHS)
def test_paths_stay_inside_the_corpus_folder(where: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leaves the corpus root; paths are relative to it"):
        Manifest(corpus="x", reader="x-1", utterances=(Utterance(id="a", audio=where),))
    path = tmp_path / "m.jsonl"
    write_manifest(Manifest(corpus="x", reader="x-1", utterances=(Utterance(id="a", audio="fine.wav"),)), path)
    path.write_text(path.read_text().replace('"fine.wav"', json.dumps(where)))
    with pytest.raises(UsageError, match="leaves the corpus root"):
        read_manifest(path)


@pytest.mark.parametrize("where", ["a/b c/ü.wav", "a..b/..c.wav", "a:b/c.wav"[2:], "Ses01/x (1).wav"])
def test_valid_paths(where: str) -> None:
    assert len(Manifest(corpus="x", reader="x-1", utterances=(Utterance(id="a", audio=where),))) == 1


ROWS = {
    "deep JSON": ("[" * 100_000, "is not JSON"),
    "a long number": ('{"id": ' + "9" * 5000 + "}", "is not JSON"),
    "an endless turn": ('{"id": "a", "text": "x", "turn": Infinity}', "turn is inf"),
    "a large start": ('{"id": "a", "text": "x", "start": ' + "9" * 400 + "}", "start is 9999"),
    "half a character": ('{"id": "a", "text": "\\ud800"}', "text is "),
    "half a character in extra": ('{"id": "a", "text": "x", "extra": {"a": "\\udfff"}}', "extra is "),
    "an id of escapes": ('{"id": "\\u001b[2J", "text": "x"}', "control characters"),
}


@pytest.mark.parametrize("name", ROWS)
def test_hostile_rows(name: str, tmp_path: Path) -> None:
    path, (row, message) = tmp_path / "m.jsonl", ROWS[name]
    header = {"emofuse-manifest": 1, "corpus": "x", "reader": "x-1", "utterances": 1, "excluded": 0}
    path.write_text(json.dumps(header) + "\n" + row + "\n")
    with pytest.raises(UsageError, match=message):
        read_manifest(path)
