"""Readers beside writers, under any file locking, in threads, forks and spawned workers; and who holds the locks."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from store_crash import FIRST, SPEC, M, fill, first_alone, lengths, read_checked
from store_samples import arrays
from store_seen import in_child

from emofuse.common.disk.locking import lock
from emofuse.common.errors import UsageError
from emofuse.store import FeatureData, FeatureStore, FeatureWriter, write_store
from emofuse.store.edit.rewrite import remove_features

TESTS = Path(__file__).parents[2] / "support" / "store"
REFUSAL = "another process is writing ({holder}); wait for it"
LOCKING = """
import os, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from store_crash import fill, first_alone, read_checked
import h5py
path = Path({path!r})
first_alone(path)
with h5py.File(path.with_name("other.h5"), "w") as file:  # applies HDF5's own locking setting
    file["x"] = 1
fill(path)
print(sorted(read_checked(path)[0]))
"""


@pytest.mark.parametrize("setting", ["TRUE", "FALSE", "BEST_EFFORT"])
def test_whatever_hdf5_locks(setting: str, tmp_path: Path) -> None:
    code = LOCKING.format(tests=str(TESTS), path=str(tmp_path / "s.h5"))
    environment = {**os.environ, "HDF5_USE_FILE_LOCKING": setting}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (0, "['first', 'second']\n"), done.stderr


def test_a_lock_of_hdf5_on_the_store_stops_no_reader(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    first_alone(path)
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert read_checked(path)[0] == {"first"}


def features_of(path: Path) -> set[str]:
    """The features of a store, read through one opening; fails where anything differs from what was written."""
    return read_checked(path)[0]


@pytest.mark.parametrize("where", [pytest.param("thread", marks=pytest.mark.slow), "process"])
def test_a_store_that_is_replaced_thirty_times_is_always_whole(where: str, tmp_path: Path) -> None:
    path, stop = tmp_path / "s.h5", tmp_path / "stop"
    first_alone(path)

    def reading() -> dict[str, int]:
        found = {"without": 0, "with": 0}
        with FeatureStore(path) as kept:
            while not stop.exists():
                found["with" if "second" in features_of(path) else "without"] += 1
                np.testing.assert_array_equal(kept.feature("first").read(["u007"]).values, FIRST["u007"].astype("f2"))
        return found

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(reading if where == "thread" else lambda: in_child(reading, tmp_path / "log"))
        for _ in range(15):
            fill(path)
            remove_features(path, ["second"])
        stop.touch()
        found = done.result(60)
    assert found["without"] >= 1
    assert found["with"] >= 1


def values_of(store: FeatureStore, worker: int) -> list[str]:
    """Every fourth utterance's values, compared; the manifest is read here for the first time."""
    ids = store.manifest.ids[worker::4]
    for id in ids:
        assert (store.feature("first").read([id]).values == FIRST[id].astype("f2")).all()
    return ids


def test_forked_workers_share_an_opened_store(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    first_alone(path)
    with FeatureStore(path) as store, ThreadPoolExecutor(4) as pool:
        assert "manifest" not in vars(store.file)
        works = [lambda n=n: [values_of(store, n) for _ in range(20)][-1] for n in range(4)]
        found = list(pool.map(lambda n: in_child(works[n], tmp_path / f"log{n}"), range(4)))
    assert sorted(id for ids in found for id in ids) == M.ids


def test_spawned_workers_open_it_again(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    first_alone(path)
    code = f"import sys; sys.path[:0] = [{str(TESTS)!r}, {str(Path(__file__).parent)!r}]"
    with FeatureStore(path) as store, multiprocessing.get_context("spawn").Pool(2, exec, (code, {})) as pool:
        found = pool.starmap(by_name, [("test_readers", "values_of", store, n) for n in range(4)])
    assert sorted(id for ids in found for id in ids) == M.ids


def by_name(module: str, function: str, store: FeatureStore, worker: int) -> list[str]:
    import importlib

    found: Callable[[FeatureStore, int], list[str]] = getattr(importlib.import_module(module), function)
    return found(store, worker)


def test_threads_share_an_opened_store(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    first_alone(path)
    with FeatureStore(path) as store, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: values_of(store, n % 4), range(32)))
    assert sorted(id for ids in found[:4] for id in ids) == M.ids


HOLDER = """
import sys, time
from pathlib import Path
from emofuse.common.disk.locking import lock
held = lock(Path({path!r}), "x")
print("held", flush=True)
time.sleep(600)
"""


def holding(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER.format(path=str(path))], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_lock_names_its_holder_and_since_when_and_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    first_alone(path)
    process = holding(tmp_path / "s.h5.second.part.lock")
    who = rf"\(host {os.uname().nodename}, process {process.pid}, since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\)"
    with pytest.raises(UsageError, match=rf"another process is writing s\.h5\.second\.part {who}; wait for it or stop"):
        FeatureWriter(path, M, SPEC, lengths())
    assert read_checked(path)[0] == {"first"}
    process.send_signal(signal.SIGKILL)
    process.wait()
    fill(path)
    assert [p.name for p in tmp_path.iterdir()] == ["s.h5"]


def test_a_commit_waits_for_another_writer_of_the_store(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    first_alone(path)
    other = lock(tmp_path / "s.h5.lock", REFUSAL)
    threading.Timer(0.5, other.release, kwargs={"remove": True}).start()
    fill(path)
    assert read_checked(path)[0] == {"first", "second"}


@pytest.fixture
def without_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("without_flock")
def test_a_lock_file_replaces_flock_where_it_is_missing(tmp_path: Path) -> None:
    path, stand_in = tmp_path / "x.lock", tmp_path / "x.lock.held"
    with lock(path, REFUSAL):
        assert stand_in.exists()
        with pytest.raises(UsageError, match=rf"process {os.getpid()}, since .*; if it has ended, delete {stand_in}\)"):
            lock(path, REFUSAL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("without_flock")
def test_a_lock_of_a_dead_process_of_this_host_is_taken_over(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    for dead in (f"{process.pid} 1", f"{os.getpid()} 1"):  # ended; and another process has its number now
        (tmp_path / "x.lock.held").write_text(f"{os.uname().nodename} {dead}")
        with lock(tmp_path / "x.lock", REFUSAL):
            assert str(os.getpid()) in (tmp_path / "x.lock.held").read_text()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("without_flock")
@pytest.mark.parametrize("content", ["elsewhere 17 99", "", "no words", "elsewhere x y"])
def test_a_lock_of_another_host_is_left_alone(content: str, tmp_path: Path) -> None:
    stand_in = tmp_path / "x.lock.held"
    stand_in.write_text(content)
    (tmp_path / "x.lock").write_text("host elsewhere, process 17, since 2026-01-01T00:00:00Z")
    with pytest.raises(
        UsageError, match=rf"host elsewhere, process 17, since .*; if it has ended, delete {stand_in}\)"
    ):
        lock(tmp_path / "x.lock", REFUSAL)
    assert stand_in.read_text() == content


@pytest.mark.usefixtures("without_flock")
def test_writing_where_there_are_no_locks(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    first_alone(path)
    fill(path)
    assert read_checked(path)[0] == {"first", "second"}
    assert [p.name for p in tmp_path.iterdir()] == ["s.h5"]


def test_a_replaced_store_is_another_and_the_open_one_the_old(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    first_alone(path)
    with FeatureStore(path) as old:
        write_store(path, M, {"more": FeatureData(modality="text", arrays=arrays(M, dimension=3))})
        assert sorted(old.features) == ["first"]
        assert old.manifest == M
        with FeatureStore(path) as new:
            assert json.dumps(sorted(new.features)) == '["first", "more"]'
