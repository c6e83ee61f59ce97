"""The same source imported again: stored metadata stays, undeclared metadata may be added, nothing changes silently."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchange_samples import (
    FITTED,
    assert_same_frames,
    check,
    make_store,
    manifest_file,
    run_export,
    run_import,
    stored_frames,
)

from emofuse.manifests.schema import WITHDRAWN, Excluded
from emofuse.store import FeatureStore, FeatureWriter
from emofuse.store.core.assemble import assemble, find_feature_sources

UNKNOWN = [{"corpus": "unknown", "labels": True}]


@pytest.fixture
def silent(tmp_path: Path) -> Path:
    """A folder of .npy files without metadata, beside the store `a.h5` of the same corpus."""
    frames = make_store(tmp_path / "a.h5")
    (tmp_path / "src").mkdir()
    for id, f in frames.items():
        np.save(tmp_path / "src" / f"{id}.npy", f)
    return tmp_path / "src"


def fitted_on(path: Path) -> Any:
    with FeatureStore(path) as store:
        return store.feature("there").provenance["fitted_on"]


def test_stored_metadata_is_kept_and_never_changed_silently(silent: Path, tmp_path: Path) -> None:
    into = tmp_path / "a.h5"
    check(run_import(into, "npy", silent, "--fitted-on", "tiny:session=1"), 0, "12 utterances written")
    before = into.read_bytes()
    check(run_import(into, "npy", silent), 0, "nothing to do, it has them all")
    check(run_import(into, "npy", silent, "--fitted-on", "Tiny:session=1"), 0, "nothing to do")
    output = check(run_import(into, "npy", silent, "--fitted-on", "none"), 2, "it was fitted on tiny, session 1")
    assert "--fitted-on says no labels" in output
    assert "emofuse store rm" in output
    assert (into.read_bytes(), fitted_on(into)) == (before, FITTED)


def test_undeclared_metadata_is_added_once_and_reported(silent: Path, tmp_path: Path) -> None:
    into = tmp_path / "a.h5"
    check(run_import(into, "npy", silent), 0, "it is unspecified what its encoder")
    check(run_import(into, "npy", silent), 0, "nothing to do", "it is unspecified what its encoder")
    output = check(run_import(into, "npy", silent, "--fitted-on", "none"), 0, "is now recorded as fitted on no labels")
    assert "nothing to do" not in output
    assert "it is unspecified" not in output
    assert fitted_on(into) == []
    assert_same_frames(stored_frames(into), stored_frames(into, "hubert"))
    before = into.read_bytes()
    check(run_import(into, "npy", silent), 0, "nothing to do")
    check(run_import(into, "npy", silent, "--fitted-on", "tiny"), 2, "it was fitted on no labels")
    assert into.read_bytes() == before


def test_encoder_and_frame_rate_are_kept_too(silent: Path, tmp_path: Path) -> None:
    into = tmp_path / "a.h5"
    check(run_import(into, "npy", silent), 0)
    check(run_import(into, "npy", silent, "--encoder", "mine", "--frame-rate", "50"), 0, "now has encoder mine",
         "now has frame rate 50.0")  # fmt: skip
    before = into.read_bytes()
    check(run_import(into, "npy", silent), 0, "nothing to do")
    check(run_import(into, "npy", silent, "--frame-rate", "25"), 2, "its frame rate is 50.0, --frame-rate says 25.0")
    check(run_import(into, "npy", silent, "--encoder", "yours"), 2, "its encoder is mine, --encoder says yours")
    assert into.read_bytes() == before


def test_what_the_source_declares_counts(silent: Path, tmp_path: Path) -> None:
    into = tmp_path / "a.h5"
    check(run_import(into, "npy", silent, "--frame-rate", "50"), 0)
    check(run_export(into, "npy", tmp_path / "out"), 0)
    side = (tmp_path / "out" / "emofuse.json").read_text()
    (silent / "emofuse.json").write_text(side)
    check(run_import(into, "npy", silent), 0, "is now recorded as fitted on tiny, session 1")
    (silent / "emofuse.json").write_text(side.replace('"1"', '"0"'))
    check(run_import(into, "npy", silent), 2, "it was fitted on tiny, session 1, the source says tiny, session 0")
    assert fitted_on(into) == FITTED


def test_an_export_with_unknown_fitted_on_may_be_declared(silent: Path, tmp_path: Path) -> None:
    check(run_import(tmp_path / "a.h5", "npy", silent), 0)
    check(run_export(tmp_path / "a.h5", "npy", tmp_path / "out", feature="there"), 0)
    manifest_path = manifest_file(tmp_path / "m.jsonl")
    check(
        run_import(tmp_path / "b.h5", "npy", tmp_path / "out", "--manifest", manifest_path),
        0,
        "it is unspecified what its encoder",
    )
    check(
        run_import(tmp_path / "b.h5", "npy", tmp_path / "out", "--fitted-on", "none"), 0, "is now recorded as fitted on"
    )
    assert fitted_on(tmp_path / "b.h5") == []


class KilledError(Exception):
    """Stands for anything that kills a process."""


def half(silent: Path, into: Path, monkeypatch: pytest.MonkeyPatch, *more: object) -> Path:
    """An import that is killed after three utterances; its partial store."""
    put, counter = FeatureWriter.put, itertools.count()

    def dying(writer: FeatureWriter, id: str, values: Any) -> None:
        if next(counter) == 3:
            raise KilledError
        put(writer, id, values)

    with monkeypatch.context() as patch:
        patch.setattr(FeatureWriter, "put", dying)
        assert isinstance(run_import(into, "npy", silent, *more).exception, KilledError)
    return into.with_name(f"{into.name}.there.part")


def test_a_resumed_import_adds_what_is_declared_now(
    silent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = tmp_path / "a.h5"
    assert half(silent, into, monkeypatch).exists()
    check(
        run_import(into, "npy", silent, "--fitted-on", "none"),
        0,
        "9 utterances written",
        "is now recorded as fitted on",
    )
    assert fitted_on(into) == []
    assert_same_frames(stored_frames(into), stored_frames(into, "hubert"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "src"]


def test_a_resumed_import_refuses_a_contradiction(
    silent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = tmp_path / "a.h5"
    part = half(silent, into, monkeypatch, "--fitted-on", "tiny:session=1")
    check(run_import(into, "npy", silent, "--fitted-on", "none"), 2, "fitted on tiny, session 1", f"delete {part}")
    check(run_import(into, "npy", silent), 0, "9 utterances written")
    assert fitted_on(into) == FITTED


def test_a_manifest_restores_no_withdrawn_utterance(silent: Path, tmp_path: Path) -> None:
    into, manifest_path = tmp_path / "a.h5", manifest_file(tmp_path / "m.jsonl")
    with FeatureStore(into) as store:
        smaller = store.manifest.excluding([Excluded(id="u003", reason=WITHDRAWN)])
        assemble(into, smaller, [g for f in store.features.values() if (g := find_feature_sources(smaller, [f]))])
    before = into.read_bytes()
    check(
        run_import(into, "npy", silent, "--manifest", manifest_path), 2, "--manifest has no effect", "emofuse store add"
    )
    assert into.read_bytes() == before
    check(run_import(into, "npy", silent), 1, "11 utterances matched by id", "unknown to the manifest: u003")
    assert "u003" not in stored_frames(into)


def test_a_manifest_restores_no_withdrawn_utterance_in_a_partial_store(
    silent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into, manifest_path = tmp_path / "n.h5", manifest_file(tmp_path / "m.jsonl")
    part = half(silent, into, monkeypatch, "--manifest", manifest_path)
    with FeatureStore(part) as store:
        utterances = tuple(u for u in store.manifest.utterances if u.id != "u003")
        smaller = replace(store.manifest, utterances=utterances, excluded=(Excluded(id="u003", reason=WITHDRAWN),))
        features = [g for f in store.features.values() if (g := find_feature_sources(smaller, [f], unwritten=True))]
        assemble(part, smaller, features, complete=False)
    check(
        run_import(into, "npy", silent, "--manifest", manifest_path),
        1,
        "11 utterances matched",
        "unknown to the manifest: u003",
    )
    with FeatureStore(into) as store:
        assert "u003" not in store.manifest.ids
        assert [(e.id, e.reason) for e in store.manifest.excluded if e.id == "u003"] == [("u003", WITHDRAWN)]
