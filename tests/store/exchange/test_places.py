"""Where an export is read from and written to: URLs, narrow umasks, files that a kill leaves; and int8 values."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
import store_samples
from exchange_samples import (
    FITTED,
    assert_same_frames,
    check,
    make_store,
    manifest,
    manifest_file,
    run,
    run_export,
    run_import,
    stored_frames,
)
from paths import ROOT
from round_trip_samples import WRITTEN, place

from emofuse.common.disk.locking import lock
from emofuse.store import FeatureData, FeatureStore
from emofuse.store.edit.rewrite import copy
from emofuse.store.exchange import export


@pytest.mark.parametrize("form", WRITTEN)
def test_int8_comes_back_as_decoded_values(form: str, tmp_path: Path) -> None:
    make_store(tmp_path / "a.h5")
    slim, out, back = tmp_path / "slim.h5", place(form, tmp_path), tmp_path / "b.h5"
    with FeatureStore(tmp_path / "a.h5") as store:
        copy(store, slim, dtype="int8")
    check(run_export(slim, form, out), 0)
    check(
        run_import(back, form, out, "--manifest", manifest_file(tmp_path / "m.jsonl")),
        0,
        "float32: 12 utterances written",
    )
    assert_same_frames(stored_frames(back), stored_frames(slim, "hubert"))
    with FeatureStore(back) as store:
        assert store.feature("there").provenance["fitted_on"] == FITTED
    assert not list(tmp_path.glob("*.part*"))


def test_a_store_behind_a_url_is_exported(tmp_path: Path) -> None:
    make_store(tmp_path / "a.h5")
    with fsspec.open("memory://lab/exchanged.h5", "wb") as file:
        file.write((tmp_path / "a.h5").read_bytes())
    arguments = ("--to", "npy", "--feature", "hubert", "--out")
    check(run("export", "memory://lab/exchanged.h5", *arguments, tmp_path / "far"), 0, "12 utterances")
    check(run("export", tmp_path / "a.h5", *arguments, tmp_path / "near"), 0)
    files = {p.name: p.read_bytes() for p in (tmp_path / "near").iterdir()}
    assert {p.name: p.read_bytes() for p in (tmp_path / "far").iterdir()} == files
    check(run("export", "memory://lab/nothing.h5", *arguments, tmp_path / "none"), 2, "no store at")


@pytest.mark.parametrize("mask", [0o077, 0o027, 0o002])
def test_an_export_follows_the_umask(mask: int, tmp_path: Path) -> None:
    make_store(tmp_path / "a.h5")
    before = os.umask(mask)
    try:
        check(run_export(tmp_path / "a.h5", "npy", tmp_path / "out"), 0)
        check(run_export(tmp_path / "a.h5", "parquet", tmp_path / "out.parquet"), 0)
    finally:
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o777 & ~mask
    assert (tmp_path / "out.parquet").stat().st_mode & 0o777 == 0o666 & ~mask


DYING = """
import os, signal, sys
from pathlib import Path
from emofuse.store.exchange import export, records
read_block = records.ExportJob.read_block
def dying(self, feature, block):
    for n, row in enumerate(read_block(self, feature, block)):
        if n == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        yield row
records.ExportJob.read_block = dying
export(Path(sys.argv[1]), "npy", ["hubert"], Path(sys.argv[2]), quiet=True)
"""


def test_the_next_export_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    frames, out = make_store(tmp_path / "a.h5"), tmp_path / "x" / "out"
    arguments = [sys.executable, "-c", DYING, str(tmp_path / "a.h5"), str(out)]
    assert subprocess.run(arguments, cwd=ROOT).returncode == -signal.SIGKILL
    remaining = sorted(p.name for p in out.parent.iterdir())
    assert remaining == [".out.exporting", ".out.exporting.lock"]
    check(run_export(tmp_path / "a.h5", "npy", out), 0)
    assert sorted(p.name for p in out.parent.iterdir()) == ["out"]
    assert sorted(p.name for p in out.iterdir()) == sorted(["emofuse.json", *(f"{id}.npy" for id in frames)])


def test_two_exports_to_one_place_do_not_meet(tmp_path: Path) -> None:
    make_store(tmp_path / "a.h5")
    with lock(tmp_path / ".out.exporting.lock", "taken"):
        check(run_export(tmp_path / "a.h5", "npy", tmp_path / "out"), 2, "another process is exporting to", "process")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5"]


def test_texts_that_were_left_out_do_not_count_as_missing(tmp_path: Path) -> None:
    of = manifest(6).without_text()
    some = {id: f for id, f in store_samples.arrays(of, dimension=3).items() if id != "u004"}
    make_store(tmp_path / "a.h5", of, bert=FeatureData(modality="text", arrays=some))
    result = export(tmp_path / "a.h5", "npy", ["bert"], tmp_path / "out", quiet=True)
    assert (result.written, result.missing) == (5, ("u004",))
    into = (tmp_path / "a.h5", "npy", tmp_path / "out")
    check(run_import(*into, modality="text"), 1, "1 in the manifest only, missing in the source: u004")
