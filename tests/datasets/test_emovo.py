"""EMOVO as it is released (the clips are empty)."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_files import differences, lay_out

from emofuse.datasets.emovo import ACTORS, SENTENCES, clip_id
from emofuse.datasets.registry import CORPORA, read_corpus
from emofuse.manifests.gender import gender_of

STATES = ("dis", "gio", "neu", "pau", "rab", "sor", "tri")


@pytest.mark.parametrize("outer", ["", "EMOVO/"])
def test_emovo_at_full_size(outer: str, tmp_path: Path) -> None:
    clips = [f"{outer}{a}/{e}-{a}-{s}.wav" for a in ACTORS for e in STATES for s in SENTENCES]
    manifest, _ = read_corpus("emovo", lay_out(tmp_path, *clips, f"{outer}documents/EMOVO.pdf"))
    assert differences(manifest, ["emovo7"]) == []
    assert CORPORA["emovo"].missing_groups(manifest) == []
    assert manifest.excluded == ()
    assert len({u.sentence for u in manifest.utterances}) == 14
    assert [u.speaker for u in manifest.utterances] == sorted(u.speaker or "" for u in manifest.utterances)


def test_what_a_file_name_says_and_which_actors_are_missing(tmp_path: Path) -> None:
    manifest, _ = read_corpus("emovo", lay_out(tmp_path, "m2/gio-m2-d1.wav"))
    (u,) = manifest.utterances
    assert (u.id, u.label, u.speaker, u.text) == ("gio-m2-d1", "gio", "m2", "Sabato sera cosa farà?")
    assert gender_of(u) == "male"
    assert CORPORA["emovo"].missing_groups(manifest) == ["f1", "f2", "f3", "m1", "m3"]
    assert CORPORA["emovo"].language == "it"


@pytest.mark.parametrize("name", ["gio-m4-d1", "noi-m1-d1", "gio-m1-d3", "gio-m1"])
def test_other_files_are_no_clips(name: str) -> None:
    assert clip_id(Path(f"{name}.wav")) is None
