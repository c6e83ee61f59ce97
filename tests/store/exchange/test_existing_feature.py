"""The same source imported again: what was said of it stays, what nobody had said may be added, nothing in silence."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchange_samples import FITTED, done, frames_in, give, make_store, put_manifest, same, take

from emofuse.manifests.schema import WITHDRAWN, Excluded
from emofuse.store import FeatureStore, FeatureWriter
from emofuse.store.core.assemble import assemble, gather

UNKNOWN = [{"corpus": "unknown", "labels": True}]


@pytest.fixture
def silent(tmp_path: Path) -> Path:
    """A folder of .npy files that say nothing of themselves, beside the store `a.h5` of the same corpus."""
    frames = make_store(tmp_path / "a.h5")
    (tmp_path / "src").mkdir()
    for id, f in frames.items():
        np.save(tmp_path / "src" / f"{id}.npy", f)
    return tmp_path / "src"


def said(path: Path) -> Any:
    with FeatureStore(path) as store:
        return store.feature("there").provenance["fitted_on"]


def test_what_stands_is_kept_and_never_changed_in_silence(silent: Path, tmp_path: Path) -> None:
    into = tmp_path / "a.h5"
    done(take(into, "npy", silent, "--fitted-on", "tiny:session=1"), 0, "12 utterances written")
    before = into.read_bytes()
    done(take(into, "npy", silent), 0, "nothing to do, it has them all")
    done(take(into, "npy", silent, "--fitted-on", "Tiny:session=1"), 0, "nothing to do")
    told = done(take(into, "npy", silent, "--fitted-on", "none"), 2, "it was fitted on tiny, session 1")
    assert "--fitted-on says nothing with labels" in told
    assert "emofuse store rm" in told
    assert (into.read_bytes(), said(into)) == (before, FITTED)


def test_what_nobody_had_said_is_taken_once_and_told(silent: Path, tmp_path: Path) -> None:
    into = tmp_path / "a.h5"
    done(take(into, "npy", silent), 0, "nobody has said what it was fitted on")
    done(take(into, "npy", silent), 0, "nothing to do", "nobody has said what it was fitted on")
    told = done(take(into, "npy", silent, "--fitted-on", "none"), 0, "now says it was fitted on nothing with labels")
    assert "nothing to do" not in told
    assert "nobody has said" not in told
    assert said(into) == []
    same(frames_in(into), frames_in(into, "hubert"))
    before = into.read_bytes()
    done(take(into, "npy", silent), 0, "nothing to do")
    done(take(into, "npy", silent, "--fitted-on", "tiny"), 2, "it was fitted on nothing with labels")
    assert into.read_bytes() == before


def test_encoder_and_frame_rate_are_kept_likewise(silent: Path, tmp_path: Path) -> None:
    into = tmp_path / "a.h5"
    done(take(into, "npy", silent), 0)
    done(take(into, "npy", silent, "--encoder", "mine", "--frame-rate", "50"), 0, "now has encoder mine",
         "now has frame rate 50.0")  # fmt: skip
    before = into.read_bytes()
    done(take(into, "npy", silent), 0, "nothing to do")
    done(take(into, "npy", silent, "--frame-rate", "25"), 2, "its frame rate is 50.0, --frame-rate says 25.0")
    done(take(into, "npy", silent, "--encoder", "yours"), 2, "its encoder is mine, --encoder says yours")
    assert into.read_bytes() == before


def test_the_sources_own_word_counts_as_said(silent: Path, tmp_path: Path) -> None:
    into = tmp_path / "a.h5"
    done(take(into, "npy", silent, "--frame-rate", "50"), 0)
    done(give(into, "npy", tmp_path / "out"), 0)
    side = (tmp_path / "out" / "emofuse.json").read_text()
    (silent / "emofuse.json").write_text(side)
    done(take(into, "npy", silent), 0, "now says it was fitted on tiny, session 1")
    (silent / "emofuse.json").write_text(side.replace('"1"', '"0"'))
    done(take(into, "npy", silent), 2, "it was fitted on tiny, session 1, the source says tiny, session 0")
    assert said(into) == FITTED


def test_an_export_of_what_nobody_vouches_for_may_be_declared(silent: Path, tmp_path: Path) -> None:
    done(take(tmp_path / "a.h5", "npy", silent), 0)
    done(give(tmp_path / "a.h5", "npy", tmp_path / "out", feature="there"), 0)
    told = put_manifest(tmp_path / "m.jsonl")
    done(take(tmp_path / "b.h5", "npy", tmp_path / "out", "--manifest", told), 0, "nobody has said")
    done(take(tmp_path / "b.h5", "npy", tmp_path / "out", "--fitted-on", "none"), 0, "now says it was fitted on")
    assert said(tmp_path / "b.h5") == []


class KilledError(Exception):
    """Stands for whatever ends a process."""


def half(silent: Path, into: Path, monkeypatch: pytest.MonkeyPatch, *more: object) -> Path:
    """An import that ends after three utterances; its part."""
    put, counter = FeatureWriter.put, itertools.count()

    def dying(writer: FeatureWriter, id: str, values: Any) -> None:
        if next(counter) == 3:
            raise KilledError
        put(writer, id, values)

    with monkeypatch.context() as patch:
        patch.setattr(FeatureWriter, "put", dying)
        assert isinstance(take(into, "npy", silent, *more).exception, KilledError)
    return into.with_name(f"{into.name}.there.part")


def test_an_import_that_goes_on_says_what_is_said_now(
    silent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = tmp_path / "a.h5"
    assert half(silent, into, monkeypatch).exists()
    done(take(into, "npy", silent, "--fitted-on", "none"), 0, "9 utterances written", "now says it was fitted on")
    assert said(into) == []
    same(frames_in(into), frames_in(into, "hubert"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "src"]


def test_an_import_that_goes_on_is_not_told_otherwise(
    silent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = tmp_path / "a.h5"
    part = half(silent, into, monkeypatch, "--fitted-on", "tiny:session=1")
    done(take(into, "npy", silent, "--fitted-on", "none"), 2, "fitted on tiny, session 1", f"delete {part}")
    done(take(into, "npy", silent), 0, "9 utterances written")
    assert said(into) == FITTED


def test_a_manifest_brings_nobody_back_into_a_store(silent: Path, tmp_path: Path) -> None:
    into, told = tmp_path / "a.h5", put_manifest(tmp_path / "m.jsonl")
    with FeatureStore(into) as store:
        gone = store.manifest.excluding([Excluded(id="u003", reason=WITHDRAWN)])
        assemble(into, gone, [g for f in store.features.values() if (g := gather(gone, [f]))])
    before = into.read_bytes()
    done(take(into, "npy", silent, "--manifest", told), 2, "--manifest has no effect", "emofuse store add")
    assert into.read_bytes() == before
    done(take(into, "npy", silent), 1, "11 utterances matched by id", "unknown to the manifest: u003")
    assert "u003" not in frames_in(into)


def test_a_manifest_brings_nobody_back_into_what_is_under_way(
    silent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into, told = tmp_path / "n.h5", put_manifest(tmp_path / "m.jsonl")
    part = half(silent, into, monkeypatch, "--manifest", told)
    with FeatureStore(part) as store:
        left = tuple(u for u in store.manifest.utterances if u.id != "u003")
        gone = replace(store.manifest, utterances=left, excluded=(Excluded(id="u003", reason=WITHDRAWN),))
        kept = [g for f in store.features.values() if (g := gather(gone, [f], unwritten=True))]
        assemble(part, gone, kept, complete=False)
    done(take(into, "npy", silent, "--manifest", told), 1, "11 utterances matched", "unknown to the manifest: u003")
    with FeatureStore(into) as store:
        assert "u003" not in store.manifest.ids
        assert [(e.id, e.reason) for e in store.manifest.excluded if e.id == "u003"] == [("u003", WITHDRAWN)]
