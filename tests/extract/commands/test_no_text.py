"""A store without texts stays without them, and its features are those of one with texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from extract_samples import OWN, corpus, extract

from emofuse.store import FeatureStore

__all__ = ["corpus"]


def test_no_text_reaches_the_file_and_the_features_are_the_same(corpus: Path) -> None:
    hashed = ("--encoder", "hashed")
    assert extract(corpus, *OWN, *hashed, "--no-text").returncode == 0
    assert extract(corpus, *OWN[:-1], "with.h5", *hashed).returncode == 0
    assert b"clip number" in (corpus / "with.h5").read_bytes()
    assert b"clip number" not in (corpus / "own.h5").read_bytes()
    with FeatureStore(corpus / "own.h5") as store, FeatureStore(corpus / "with.h5") as whole:
        ids = store.manifest.ids
        without, other = store.feature("hashed"), whole.feature("hashed")
        np.testing.assert_array_equal(without.read(ids).values, other.read(ids).values)
        assert (without.sources, without.stale) == (other.sources, [])
    again = extract(corpus, *OWN, *hashed)
    assert "nothing to do" in again.stdout, again.stdout + again.stderr
    assert extract(corpus, *OWN, "--encoder", "logmel").returncode == 0, "without the option: it stays so"
    content = b"".join(p.read_bytes() for p in corpus.glob("own.h5*"))
    assert b"clip number" not in content


def test_texts_can_be_taken_out_later_and_a_changed_one_is_encoded_again(corpus: Path) -> None:
    hashed = ("--encoder", "hashed")
    assert extract(corpus, *OWN, *hashed).returncode == 0
    stripped = extract(corpus, *OWN, *hashed, "--no-text")
    assert "nothing to do" in stripped.stdout, stripped.stdout + stripped.stderr
    assert b"clip number" not in (corpus / "own.h5").read_bytes()
    table = corpus / "own" / "own.csv"
    table.write_text(table.read_text().replace("clip number 3", "another text"))
    changed = extract(corpus, *OWN, *hashed)
    assert "hashed: 1 utterance encoded" in changed.stdout, changed.stdout + changed.stderr
    assert b"another text" not in (corpus / "own.h5").read_bytes()
