"""Folds and seeds in several processes give the results of one process, and end like one process."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import train_samples as samples
from job_samples import numbers

from emofuse.common.disk.run_folder import read_json
from emofuse.common.errors import DataError, UsageError
from emofuse.train.api import fit
from emofuse.train.data.loader import Loader
from emofuse.train.fitting.fold import TrainingUnit
from emofuse.train.runs.fit_context import fit_context, resolved
from emofuse.train.runs.processes import execute, process_count, process_pool
from emofuse.train.runs.processes.process_count import Workload, threads_per_process, workload


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("jobs")
    samples.store(made / "tiny.h5")
    samples.protocol_file(made)
    return made


@pytest.mark.slow
def test_two_processes_give_what_one_gives(folder: Path) -> None:
    asked = {"seeds": 2, "threads": 1, "folds": "1,2"}
    one = samples.quietly(samples.config(folder, "one", "smcn", jobs=1, **asked))
    two = samples.quietly(samples.config(folder, "two", "smcn", jobs=2, **asked))
    assert len(numbers(one)) == 1 + 2 * (1 + 2 + 2)
    assert numbers(one) == numbers(two)
    first, second = (read_json(out / "metrics.json") for out in (one, two))
    assert first["mean"] == second["mean"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_is_one_line_with_any_number_of_processes(folder: Path, jobs: int) -> None:
    asked = samples.config(folder, f"wrong{jobs}", "text", settings=("lr=1e30", "hidden=8", "batch=16"), jobs=jobs)
    with pytest.raises(UsageError, match=r"text, seed 0, fold [1-4]: the training loss is nan"):
        fit(asked, say=lambda line: None)


def start(folder: Path, name: str) -> subprocess.Popen[str]:
    words = [
        "--store",
        "tiny.h5",
        "--model",
        "smcn",
        "--audio",
        "logmel",
        "--protocol",
        "tiny4.toml",
        "--steps",
        "3000",
    ]
    words += ["--set", "hidden=8", "--jobs", "2", "--threads", "1", "--device", "cpu", "--out", name]
    command = [sys.executable, "-c", "from emofuse.train.commands.fit import main; main()", *words]
    return subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def training(process: subprocess.Popen[str], part: Path) -> list[psutil.Process]:
    """Its processes, once two folds are being trained."""
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        if len(list(part.glob("fold_*"))) >= 2:
            return psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.05)
    pytest.fail(f"no two folds were being trained: {process.communicate()}")


@pytest.mark.slow
def test_ctrl_c_ends_all_of_them(folder: Path) -> None:
    process = start(folder, "stopped")
    children = training(process, folder / "stopped.part")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert not psutil.wait_procs(children, timeout=10)[1]


@pytest.mark.slow
def test_no_process_stays_when_the_first_is_killed(folder: Path) -> None:
    process = start(folder, "orphans")
    children = training(process, folder / "orphans.part")
    process.kill()
    process.communicate()
    assert not psutil.wait_procs(children, timeout=20)[1]


@pytest.mark.slow
def test_a_process_that_dies_is_reported_in_one_line(folder: Path) -> None:
    process = start(folder, "killed")
    children = training(process, folder / "killed.part")
    workers = [c for c in children if "spawn_main" in " ".join(c.cmdline())]
    os.kill(workers[0].pid, signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == DataError.exit_code, err
    assert "a process died (SIGKILL), usually out of memory: use fewer --jobs" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_the_rest_of_a_fit_has_the_threads_that_it_started_with(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_count, "usable_cores", lambda: 4)
    asked = samples.config(folder, "left", "smcn", jobs=2, folds="1,2")
    out = fit(asked, say=lambda line: None).folder
    for name in ("metrics.json", "predictions.csv", "history.csv"):
        (out / name).unlink()
    for path in (out / "fold_2").iterdir():
        path.unlink()
    out.rename(folder / "left.part")
    lines: list[str] = []
    fit(asked, say=lines.append)
    assert "training 1 fold in a process with 2 threads" in lines
    assert [read_json(out / f"fold_{n}" / "result.json")["threads"] for n in (1, 2)] == [2, 2]


@pytest.mark.parametrize(
    ("model", "asked", "free", "processes"),
    [("linear", None, 1000.0, 1), ("linear", None, math.inf, 2), ("linear", 2, 1000.0, 2), ("smcn", None, 1000.0, 2)],
)
def test_no_more_processes_than_have_memory_for_their_own_copies(
    folder: Path, monkeypatch: pytest.MonkeyPatch, model: str, asked: int | None, free: float, processes: int
) -> None:
    """Frames are mapped once for all processes; means are not. A number of processes that the user sets is kept."""
    monkeypatch.setattr(process_count, "WORTH_SECONDS", 0.0)
    monkeypatch.setattr(process_count, "usable_cores", lambda: 2)
    monkeypatch.setattr(process_count, "free_memory", lambda: free)
    counts: list[tuple[int, int]] = []
    monkeypatch.setattr(process_pool, "run", lambda *given: counts.append(given[-2:]))
    options = {"audio": "logmel", "text": None} if model == "linear" else {}
    with resolved(samples.config(folder, "room", model, settings=(), jobs=asked, **options)) as plan:
        lines: list[str] = []
        context = fit_context(plan, Loader(plan), lines.append)
        tasks = [
            (context, TrainingUnit(seed=0, fold=f.number, folder=folder / str(f.number), call=1)) for f in plan.folds
        ]
        assert (context.loader.unshared_bytes() > 1000) == (model == "linear")
        execute.train_units(tasks, [workload(plan)], lambda *_: None)
    assert counts == [(processes, 1)]
    assert [line[:22] for line in lines] == ["note 1 of 2 processes:"] * (processes == 1)


def test_only_as_many_processes_as_make_it_faster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with resolved(samples.config(folder, "plan", "smcn", steps=20, jobs=None)) as plan:
        assert workload(plan).units == 4
        assert process_count.count_processes(plan, [workload(plan)]) == 1  # done before others have started
        assert process_count.count_processes(plan, 100 * [workload(plan)]) == process_count.usable_cores()
        long = workload(replace(plan, settings=replace(plan.settings, steps=1_000_000))).seconds / 4
        monkeypatch.setattr(process_count, "usable_cores", lambda: 3)
        many = [[Workload(units=units, seconds=units * long)] for units in (1, 2, 8)]
        assert [process_count.count_processes(plan, each) for each in many] == [1, 2, 3]
        assert [threads_per_process(plan, n) for n in (1, 2, 3)] == [3, 1, 1]
        asked = replace(plan, config=replace(plan.config, jobs=5, threads=2))
        assert [process_count.count_processes(asked, each) for each in (many[0], many[2])] == [1, 5]
        assert threads_per_process(asked, 5) == 2
