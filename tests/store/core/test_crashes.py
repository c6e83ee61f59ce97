"""Writers killed at random moments: complete features stay, written utterances are not asked for again."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree, rmtree

import pytest
from store_crash import (
    FLUSH,
    OPERATIONS,
    WITHDRAWN_IDS,
    WRITING,
    M,
    check,
    fill,
    first_alone,
    partial_beside,
    read_checked,
)

from emofuse.store import FeatureStore
from emofuse.store.edit.rewrite import remove_utterances


class Nursery:
    """A process that forks children and kills them (see store_nursery.py)."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).parents[2] / "support" / "store" / "store_nursery.py")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(
        self, operation: str, folder: Path, event: int = -1, delay: float = 0.0, how: int = 0
    ) -> tuple[int, list[str], list[float]]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps([operation, str(folder), event, delay, how]), file=self.process.stdin, flush=True)
        status, events, seconds = json.loads(self.process.stdout.readline())
        return status, events, seconds


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    found = Nursery()
    yield found
    found.process.communicate(timeout=30)


def a_moment(seconds: list[float], rng: random.Random) -> tuple[int, float]:
    """A moment of an undisturbed run: the event before it, and how long after that; even in time or among events."""
    if rng.random() < 0.5:
        moment = rng.uniform(seconds[0], seconds[-1] * 1.05)
        event = max(i for i, s in enumerate(seconds) if s <= moment)
        return event, moment - seconds[event]
    event = rng.randrange(len(seconds) - 1)
    return event, rng.uniform(0, seconds[event + 1] - seconds[event])


def phase_of(events: list[str]) -> str:
    if events[-1] in ("done", "committed"):
        return "after"
    if events[-1].startswith(("put", "flushed")):
        return "writing"
    return {"committing": "committing", "opened": "writing"}.get(events[-1], "creating")


@pytest.mark.parametrize("kills", [16, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_at_random_moments(tmp_path: Path, nursery: Nursery, kills: int) -> None:
    rng, phases, statuses = random.Random(7), Counter[str](), Counter[int]()
    seconds: dict[str, list[float]] = {}
    for name, operation in OPERATIONS.items():
        (tmp_path / name).mkdir()
        operation.prepare(tmp_path / name / "s.h5")
        for _ in range(2):  # the first run is slower
            rmtree(tmp_path / "try", ignore_errors=True)
            copytree(tmp_path / name, tmp_path / "try")
            status, events, seconds[name] = nursery(name, tmp_path / "try")
            assert (status, events[-1]) == (0, "done")
    names = [*WRITING] * 2 + [n for n in OPERATIONS if n not in WRITING]
    for number in range(kills):
        name = names[number % len(names)]
        rmtree(tmp_path / "try")
        copytree(tmp_path / name, tmp_path / "try")
        event, delay = a_moment(seconds[name], rng)
        how = signal.SIGINT if number % 5 == 4 else signal.SIGKILL
        status, events, _ = nursery(name, tmp_path / "try", event, delay, how)
        assert status in ((0, -9) if how == signal.SIGKILL else (0, 130)), (number, status, events)
        written = {word.removeprefix("put ") for word in events if word.startswith("put ")}
        check(tmp_path / "try", OPERATIONS[name], written, finished=events[-1] in ("done", "committed"))
        statuses[status] += 1
        phases[phase_of(events) if name in WRITING else "rewriting" if events[-1] != "done" else "after"] += 1
    print(f"\n{dict(phases)}, exit codes {dict(statuses)}")
    assert all(phases[p] >= kills // 40 for p in ("creating", "writing", "committing", "rewriting")), phases
    assert statuses[-9] >= kills // 2, statuses


@pytest.mark.slow
def test_killed_right_after_each_step_of_a_commit(tmp_path: Path, nursery: Nursery) -> None:
    """Ten evenly spread moments between the call of `commit` and its end."""
    first_alone(tmp_path / "s.h5")
    copytree(tmp_path, tmp_path / "try")
    _, events, seconds = nursery("second", tmp_path / "try")
    event = events.index("committing")
    length = seconds[event + 1] - seconds[event]
    for step in range(10):
        rmtree(tmp_path / "try")
        (tmp_path / "try").mkdir()
        first_alone(tmp_path / "try" / "s.h5")
        _, events, _ = nursery("second", tmp_path / "try", event, length * step / 9, signal.SIGKILL)
        check(tmp_path / "try", OPERATIONS["second"], set(M.ids), finished=events[-1] in ("done", "committed"))


def test_a_part_that_was_never_finished_hides_no_withdrawn_utterance(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    partial_beside(path)
    part = tmp_path / "s.h5.second.part"
    for left in (part, part.with_name("s.h5.third.part")):  # killed while the partial store was created
        left.with_name(left.name + ".new").write_bytes(part.read_bytes())
    remove_utterances(path, WITHDRAWN_IDS)
    for file in tmp_path.iterdir():
        assert "Sätze 3 “".encode() not in file.read_bytes(), file.name
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.h5", "s.h5.second.part"]


def test_a_finished_part_beside_the_finished_store(tmp_path: Path) -> None:
    """Killed between the rename of the store and the removal of the partial store."""
    path = tmp_path / "s.h5"
    partial_beside(path)
    part = tmp_path / "s.h5.second.part"
    fill(path, stop=len(M))
    kept = part.read_bytes()
    fill(path)
    part.write_bytes(kept)
    fill(path)
    assert read_checked(path) == ({"first", "second"}, set(M.ids))
    assert [p.name for p in tmp_path.iterdir()] == ["s.h5"]


def test_flushes_come_within_the_run() -> None:
    assert len(M) // FLUSH >= 3


def test_the_check_can_fail(tmp_path: Path) -> None:
    first_alone(tmp_path / "s.h5")
    with FeatureStore(tmp_path / "s.h5") as store:
        offset = store.feature("first").values_offset
    data = bytearray((tmp_path / "s.h5").read_bytes())
    data[offset] ^= 1
    (tmp_path / "s.h5").write_bytes(data)
    with pytest.raises(AssertionError):
        check(tmp_path, OPERATIONS["second"], (), finished=False)
