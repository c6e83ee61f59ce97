"""Disks that are full, under quota, lost or read-only: one clear line, no half-written file, older files stay."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_crash import OPERATIONS, M, check

from emofuse.common.errors import command

TESTS = Path(__file__).parents[2] / "support" / "store"


class Disks:
    """The program beside this file, in a mount namespace of its own where it shall make disks."""

    def __init__(self, folder: Path, alone: bool) -> None:
        (folder / "disk").mkdir()
        words = [sys.executable, str(TESTS / "hostile_disk.py"), str(folder / "disk")]
        private = ["unshare", "--mount", "--map-root-user"] if alone else []
        self.process = subprocess.Popen([*private, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            pytest.skip("no mount namespace may be made here")

    def __call__(self, kind: str, operation: str, kilobytes: int) -> tuple[int, str, list[str], list[str]]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps([kind, operation, kilobytes]), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            pytest.skip("no small disk may be mounted here")
        status, message, left, holds = json.loads(line)
        return status, message, left, holds


def may_mount() -> bool:
    unshare = shutil.which("unshare")
    probe = ["unshare", "--mount", "--map-root-user", "mount", "-t", "tmpfs", "none", "/mnt"]
    return bool(unshare) and subprocess.run(probe, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Disks]:
    kind = request.param
    if kind == "disk" and not may_mount():
        pytest.skip("no small disk may be mounted here (unshare --mount --map-root-user)")
    found = Disks(tmp_path_factory.mktemp(kind), alone=kind == "disk")
    yield found
    found.process.communicate(timeout=30)


BOTH_KINDS = pytest.mark.parametrize(
    ("disks", "name"), [(k, n) for k in ("disk", "quota") for n in OPERATIONS], indirect=["disks"]
)


@BOTH_KINDS
def test_no_room(disks: Disks, name: str, request: pytest.FixtureRequest) -> None:
    kind, seen = request.node.callspec.params["disks"], Counter[int]()
    for kilobytes in (0, 8, 40, 64, 100, 400):
        seen[fits(disks, kind, name, kilobytes)] += 1
    assert min(seen[0], seen[3]) >= 1, seen


@pytest.mark.slow
@BOTH_KINDS
def test_no_room_in_steps_of_a_page(disks: Disks, name: str, request: pytest.FixtureRequest) -> None:
    kind, seen = request.node.callspec.params["disks"], Counter[int]()
    for kilobytes in range(0, 400, 4):
        seen[fits(disks, kind, name, kilobytes)] += 1
        if seen[0] == 3:
            break
    print(f"\n{kind}, {name}: {dict(seen)}")
    assert seen[0] == 3


def fits(disks: Disks, kind: str, name: str, kilobytes: int) -> int:
    """Run an operation on a disk with some room left; returns the exit code."""
    operation = OPERATIONS[name]
    status, message, left, holds = disks(kind, name, kilobytes)
    where = f"{kilobytes} kB: exit {status}, {left}, {message}"
    assert status in (0, 3), where
    assert set(holds) == set(operation.after if status == 0 else operation.before), where
    if status == 3:
        assert message.count("\n") == 1, where
        assert message.startswith("error: no "), where
        assert "again" in message, where
        started = {"s.h5.second.part", "s.h5.second.part.lock"}
        assert set(left) <= {"s.h5", *operation.beside, *started} - {"copy.h5"}, where
        assert "s.h5.second.part" in left or not started & set(left), where
    return status


FAILURES = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT)


@pytest.mark.parametrize("name", ["second", *(pytest.param(name, marks=pytest.mark.slow) for name in ("merge", "rm"))])
def test_a_lost_connection(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The call of that number fails, and all after it, until the disk is back."""
    rng, operation, calls = random.Random(name), OPERATIONS[name], 0
    fail_at = -1
    number = errno.EIO

    def failing(real: object) -> object:
        def wrapped(*words: object) -> object:
            nonlocal calls
            calls += 1
            if 0 <= fail_at < calls:
                raise OSError(number, os.strerror(number))
            return real(*words)  # type: ignore[operator]

        return wrapped

    def once(folder: Path, at: int) -> int:
        nonlocal fail_at, calls
        calls, fail_at = 0, at
        with monkeypatch.context() as patched:
            for call in ("pwrite", "fsync", "fdatasync", "copy_file_range", "posix_fallocate"):
                patched.setattr(os, call, failing(getattr(os, call)))
            try:
                command(operation.run)(folder / "s.h5")
            except SystemExit as leaving:
                return int(leaving.code or 0)
        return 0

    template, folder = tmp_path / "template", tmp_path / "try"
    template.mkdir()
    operation.prepare(template / "s.h5")
    shutil.copytree(template, folder)
    once(folder, -1)
    total = calls
    for _ in range(8):
        shutil.rmtree(folder)
        shutil.copytree(template, folder)
        number = rng.choice(FAILURES)
        status = once(folder, rng.randrange(total))
        message = capsys.readouterr().err
        assert (status, message.count("\n"), "Traceback" in message) == (3, 1, False), message
        assert os.strerror(number) in message
        assert "run the same command again" in message
        check(folder, operation, (), finished=False)


READ_ONLY = """
import sys
sys.path[:0] = {tests!r}
from pathlib import Path
from hostile_disk import mount, MS_RDONLY, MS_REMOUNT
from store_crash import both, partial_beside, read_checked, fill, OPERATIONS
from train_samples import config, protocol_file, quietly, store
from emofuse.common.errors import command
from emofuse.store.commands.store import store as verbs
folder, free = Path({folder!r}), Path({free!r})
mount(folder, 4096)
partial_beside(folder / "s.h5")
store(folder / "tiny.h5")
protocol_file(folder)
mount(folder, 4096, MS_REMOUNT | MS_RDONLY)
print(read_checked(folder / "s.h5")[0], len(read_checked(folder / "s.h5")[1]))
for words in (["info"], ["verify"], ["ls"]):
    try:
        verbs([*words, str(folder / "s.h5")], standalone_mode=False)
    except SystemExit as leaving:
        print("exit", words, leaving.code)
print((quietly(config(folder, "run", steps=2, out=free / "run")) / "metrics.json").exists())
for name in ("second", "rm", "repack", "withdraw"):
    try:
        command(OPERATIONS[name].run)(folder / "s.h5")
    except SystemExit as leaving:
        print("exit", name, leaving.code)
"""


@pytest.mark.slow
def test_read_only_media(tmp_path: Path) -> None:
    if not may_mount():
        pytest.skip("no small disk may be mounted here (unshare --mount --map-root-user)")
    (tmp_path / "disk").mkdir()
    code = READ_ONLY.format(
        tests=[str(TESTS), str(TESTS.parent / "train")], folder=str(tmp_path / "disk"), free=str(tmp_path)
    )
    words = ["unshare", "--mount", "--map-root-user", sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"{{'first'}} {len(M)}"
    assert [line for line in lines if line.startswith("exit")] == [
        f"exit {n} 2" for n in ("second", "rm", "repack", "withdraw")
    ]
    assert "True" in lines
    assert done.stderr.count("read-only") == 4
    assert [line[:6] for line in done.stderr.splitlines() if not line.startswith("fit ")] == ["error:"] * 4
