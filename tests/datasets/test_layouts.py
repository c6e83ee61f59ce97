"""Corpora laid out on disk as their releases are, with real ids: small ones of each kind, read end to end."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from emofuse.datasets.base import ReaderOptions
from emofuse.datasets.registry import CORPORA, read_corpus
from emofuse.manifests.schema import Manifest

LIMIT = 24


@pytest.fixture(scope="module", params=["iemocap", "meld", "savee", "ravdess"])
def laid_out(
    request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    for tool in ("espeak-ng", "ffmpeg"):
        if not shutil.which(tool):
            pytest.skip(f"laying out a corpus needs {tool}")
    root = tmp_path_factory.mktemp(request.param)
    tool = shared / "tools/make_corpus.py"
    subprocess.run([sys.executable, str(tool), request.param, str(root), "--limit", str(LIMIT)], check=True)
    return request.param, root


def without_undecided(manifest: Manifest) -> Manifest:
    """Without the turns of IEMOCAP that have no agreed label: the layout adds some, without audio and text."""
    return replace(manifest, utterances=tuple(u for u in manifest.utterances if u.label != "xxx"))


def test_every_laid_out_utterance_is_read(laid_out: tuple[str, Path]) -> None:
    name, root = laid_out
    manifest = without_undecided(read_corpus(name, root)[0])
    # MELD's layout adds the one clip that cannot be decoded: only decoding can tell
    assert len(manifest) == LIMIT + (name == "meld")
    assert all(u.audio and (root / u.audio).stat().st_size > 0 for u in manifest.utterances)
    assert all(u.label and u.speaker for u in manifest.utterances)


def test_what_is_excluded_has_a_reason(laid_out: tuple[str, Path]) -> None:
    name, root = laid_out
    reasons = {e.reason for e in read_corpus(name, root)[0].excluded}
    assert reasons == set()


def test_texts_are_there_where_the_corpus_has_them(laid_out: tuple[str, Path]) -> None:
    name, root = laid_out
    options = ReaderOptions(transcripts=root / "transcripts.csv") if name == "savee" else ReaderOptions()
    assert all(u.text for u in without_undecided(read_corpus(name, root, options)[0]).utterances)


def test_reading_twice_gives_the_same_manifest(laid_out: tuple[str, Path]) -> None:
    name, root = laid_out
    assert read_corpus(name, root)[0].digest() == read_corpus(name, root)[0].digest()


def test_no_other_corpus_claims_it(laid_out: tuple[str, Path]) -> None:
    name, root = laid_out
    assert [e.name for e in CORPORA if e.value.looks_like(root)] == [name]
