"""Stores, locks and fits on a system without `fcntl`, `resource` and positioned reads and writes, as Windows is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import train_samples as samples

BLOCKED = """
import os, sys
for name in ("fcntl", "resource"):
    sys.modules[name] = None
for name in ("pread", "preadv", "pwrite", "pwritev", "copy_file_range", "sched_getaffinity", "posix_fallocate"):
    if hasattr(os, name):
        delattr(os, name)
"""
STORE = """
from pathlib import Path
from emofuse.common.disk.locking import lock, lock_holder
from emofuse.common.errors import UsageError
from emofuse.store import FeatureData, FeatureStore, write_store
from emofuse.store.inspect.verify import verify
from store_samples import arrays, manifest

m = manifest()
write_store(Path("s.h5"), m, {"x": FeatureData(modality="audio", arrays=arrays(m, 4))})
write_store(Path("s.h5"), m, {"y": FeatureData(modality="audio", arrays=arrays(m, 3))})
with FeatureStore("s.h5") as store:
    assert all((store["x"][id] == store["x"][id]).all() for id in m.ids)
    assert sorted(store.features) == ["x", "y"]
assert all(check.intact for check in verify(Path("s.h5")))
with lock(Path("l"), "held by {holder}"):
    assert f"process {os.getpid()}" in lock_holder(Path("l"))
    try:
        lock(Path("l"), "held by {holder}")
    except UsageError as error:
        assert f"held by host" in str(error)
    else:
        raise AssertionError("a lock was given twice")
assert lock_holder(Path("l")) is None
"""
POSITIONED = """
from emofuse.common.disk.positioned import pread, pwrite, read_into
with open("f", "w+b") as file:
    file.write(b"0123456789")
    file.flush()
    pwrite(file.fileno(), b"ab", 3)
    window = bytearray(4)
    assert pread(file.fileno(), 3, 2) == b"2ab"
    assert (read_into(file.fileno(), memoryview(window), 8), window) == (2, b"89\\0\\0")
    assert file.tell() == 10
    file.write(b"end")
assert open("f", "rb").read() == b"012ab56789end"
"""


def run_blocked(code: str, folder: Path) -> None:
    support = Path(__file__).parents[1] / "support"
    paths = [str(support), *(str(support / name) for name in ("store", "train", "extract"))]
    start = f"{BLOCKED}sys.path[:0] = {paths!r}\n"
    done = subprocess.run([sys.executable, "-c", start + code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_store_is_written_locked_read_and_verified(tmp_path: Path) -> None:
    run_blocked(STORE, tmp_path)


@pytest.mark.parametrize("blocked", [True, False])
def test_positioned_reads_and_writes_leave_the_position(tmp_path: Path, blocked: bool) -> None:
    if blocked:
        run_blocked(POSITIONED, tmp_path)
    else:
        done = subprocess.run([sys.executable, "-c", POSITIONED], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_fit_runs(tmp_path: Path) -> None:
    samples.store(tmp_path / "tiny.h5")
    task = Path(samples.protocol_file(tmp_path)).name
    arguments = ["--store", "tiny.h5", "--model", "concat", "--protocol", task, "--steps", "2", "--folds", "1"]
    arguments += ["--jobs", "1", "--device", "cpu", "--no-report", "--out", "run"]
    code = f"from emofuse.train.commands.fit import fit; fit({arguments!r}, standalone_mode=False)"
    run_blocked(code, tmp_path)
    assert (tmp_path / "run" / "metrics.json").is_file()
