"""Where an export is read from and written to: URLs, narrow umasks, what a kill leaves, and what int8 becomes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
import store_samples
from exchange_samples import FITTED, done, frames_in, give, make_store, manifest, put_manifest, run, same, take
from paths import ROOT
from round_trip_samples import WRITTEN, place

from emofuse.common.disk.locking import lock
from emofuse.store import FeatureData, FeatureStore
from emofuse.store.edit.rewrite import copy
from emofuse.store.exchange import export


@pytest.mark.parametrize("form", WRITTEN)
def test_int8_comes_back_as_the_numbers_that_it_stands_for(form: str, tmp_path: Path) -> None:
    make_store(tmp_path / "a.h5")
    slim, out, back = tmp_path / "slim.h5", place(form, tmp_path), tmp_path / "b.h5"
    with FeatureStore(tmp_path / "a.h5") as store:
        copy(store, slim, dtype="int8")
    done(give(slim, form, out), 0)
    done(take(back, form, out, "--manifest", put_manifest(tmp_path / "m.jsonl")), 0, "float32: 12 utterances written")
    same(frames_in(back), frames_in(slim, "hubert"))
    with FeatureStore(back) as store:
        assert store.feature("there").provenance["fitted_on"] == FITTED
    assert not list(tmp_path.glob("*.part*"))


def test_a_store_behind_a_url_is_exported(tmp_path: Path) -> None:
    make_store(tmp_path / "a.h5")
    with fsspec.open("memory://lab/exchanged.h5", "wb") as file:
        file.write((tmp_path / "a.h5").read_bytes())
    words = ("--to", "npy", "--feature", "hubert", "--out")
    done(run("export", "memory://lab/exchanged.h5", *words, tmp_path / "far"), 0, "12 utterances")
    done(run("export", tmp_path / "a.h5", *words, tmp_path / "near"), 0)
    files = {p.name: p.read_bytes() for p in (tmp_path / "near").iterdir()}
    assert {p.name: p.read_bytes() for p in (tmp_path / "far").iterdir()} == files
    done(run("export", "memory://lab/nothing.h5", *words, tmp_path / "none"), 2, "no store at")


@pytest.mark.parametrize("mask", [0o077, 0o027, 0o002])
def test_an_export_is_as_open_as_the_umask_says(mask: int, tmp_path: Path) -> None:
    make_store(tmp_path / "a.h5")
    before = os.umask(mask)
    try:
        done(give(tmp_path / "a.h5", "npy", tmp_path / "out"), 0)
        done(give(tmp_path / "a.h5", "parquet", tmp_path / "out.parquet"), 0)
    finally:
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o777 & ~mask
    assert (tmp_path / "out.parquet").stat().st_mode & 0o777 == 0o666 & ~mask


DYING = """
import os, signal, sys
from pathlib import Path
from emofuse.store.exchange import export, exporting
put = exporting.Export.read_block
def dying(self, feature, block):
    for n, row in enumerate(put(self, feature, block)):
        if n == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        yield row
exporting.Export.read_block = dying
export(Path(sys.argv[1]), "npy", ["hubert"], Path(sys.argv[2]), quiet=True)
"""


def test_what_a_killed_export_leaves_goes_with_the_next_one(tmp_path: Path) -> None:
    frames, out = make_store(tmp_path / "a.h5"), tmp_path / "x" / "out"
    words = [sys.executable, "-c", DYING, str(tmp_path / "a.h5"), str(out)]
    assert subprocess.run(words, cwd=ROOT).returncode == -signal.SIGKILL
    left = sorted(p.name for p in out.parent.iterdir())
    assert left == [".out.exporting", ".out.exporting.lock"]
    done(give(tmp_path / "a.h5", "npy", out), 0)
    assert sorted(p.name for p in out.parent.iterdir()) == ["out"]
    assert sorted(p.name for p in out.iterdir()) == sorted(["emofuse.json", *(f"{id}.npy" for id in frames)])


def test_two_exports_to_one_place_do_not_meet(tmp_path: Path) -> None:
    make_store(tmp_path / "a.h5")
    with lock(tmp_path / ".out.exporting.lock", "taken"):
        done(give(tmp_path / "a.h5", "npy", tmp_path / "out"), 2, "another process is exporting to", "process")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5"]


def test_texts_that_were_left_out_are_not_taken_for_lacking(tmp_path: Path) -> None:
    of = manifest(6).without_text()
    some = {id: f for id, f in store_samples.arrays(of, dimension=3).items() if id != "u004"}
    make_store(tmp_path / "a.h5", of, bert=FeatureData(modality="text", arrays=some))
    told = export(tmp_path / "a.h5", "npy", ["bert"], tmp_path / "out", quiet=True)
    assert (told.written, told.lacking) == (5, ("u004",))
    into = (tmp_path / "a.h5", "npy", tmp_path / "out")
    done(take(*into, modality="text"), 1, "1 in the manifest alone, lacking in the source: u004")
