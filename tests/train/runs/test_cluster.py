"""Folds and seeds on the workers of a Dask cluster, which are processes of their own, are those of one process."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import train_samples as samples
from diverging_samples import stood_alone, with_a_diverging_row
from job_samples import numbers
from paper_samples import raw, request, same_runs

from emofuse.common.disk.locking import lock
from emofuse.common.errors import UsageError
from emofuse.common.system import cluster
from emofuse.train.papers.reproduce import reproduce
from emofuse.train.papers.table import parse
from emofuse.train.runs.run import fit
from emofuse.train.search.search import search


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with cluster.local(2, gpus=0) as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cluster")
    samples.store(made / "tiny.h5")
    samples.protocol_file(made)
    return made


def test_workers_give_what_one_process_gives(folder: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = samples.quietly(samples.config(folder, "one", "smcn", jobs=1, seeds=2, folds="1,2"))
    monkeypatch.chdir(folder)  # the workers stand elsewhere
    here = Path()
    many = samples.quietly(samples.config(here, "many", "smcn", scheduler=address, seeds=2, folds="1,2"))
    assert len(numbers(one)) == 1 + 2 * (1 + 2 + 2)
    assert numbers(one) == numbers(many.resolve())


def test_a_mistake_comes_back_as_it_is(folder: Path, address: str) -> None:
    wrong = samples.config(folder, "wrong", "text", settings=("lr=1e30", "hidden=8"), scheduler=address)
    with pytest.raises(UsageError, match="the training loss is nan"):
        fit(wrong, say=lambda line: None)


def test_workers_take_the_folds_of_several_rows(folder: Path, address: str) -> None:
    table = parse("tiny-table9", raw(folder))
    for name, how in (("alone", {"jobs": 1, "threads": 1}), ("shared", {"scheduler": address, "threads": 1})):
        reproduce(request(folder, table, runs=folder / name, **how), lambda line: None)
    same_runs(folder / "alone", folder / "shared")
    assert not list((folder / "shared").rglob("*under-way*"))


def test_a_row_that_diverges_stops_no_other_on_a_cluster(folder: Path, address: str) -> None:
    asked = request(folder, with_a_diverging_row(folder), runs=folder / "diverged", scheduler=address)
    sheet, where = reproduce(asked, lambda line: None)
    stood_alone(asked.table, sheet, where)


@pytest.mark.slow
def test_a_search_on_workers_comes_to_what_one_process_comes_to(folder: Path, address: str) -> None:
    (folder / "space.toml").write_text("lr = { low = 1e-3, high = 1e-1, log = true }\nhidden = [4, 8]\n")
    found = {}
    for name, how in (("alone", {"jobs": 1}), ("shared", {"scheduler": address})):
        asked = samples.config(folder, f"search-{name}", "concat", settings=(), folds="1,2", steps=10, threads=1, **how)
        result = search(asked, folder / "space.toml", 3, lambda line: None)
        found[name] = result.best, result.value, (result.out / "trials.csv").read_bytes()
    assert found["shared"] == found["alone"]


@pytest.mark.slow
def test_workers_stop_when_their_call_has_ended(folder: Path, address: str) -> None:
    words = ["--store", "tiny.h5", "--model", "smcn", "--audio", "logmel", "--protocol", "tiny4.toml", "--folds", "1,2"]
    words += ["--steps", "100000", "--set", "hidden=8", "--scheduler", address, "--device", "cpu", "--out", "long"]
    command = [sys.executable, "-c", "from emofuse.train.commands.fit import main; main()", *words]
    process = subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    locks = folder / "long.part"
    until = time.monotonic() + 60
    while time.monotonic() < until and len(list(locks.glob("fold_*"))) < 2:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    for number in (1, 2):  # nobody trains any more
        with lock(locks / f".fold_{number}.lock", "{holder}", wait=20):
            pass


@pytest.mark.slow
def test_a_killed_worker_costs_its_fold_alone(folder: Path, address: str) -> None:
    asked = {"steps": 400, "settings": ("hidden=8", "batch=16"), "threads": 1}
    one = samples.quietly(samples.config(folder, "whole", "smcn", jobs=1, **asked))
    part = folder / "killed.part"

    def kill() -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until and not list(part.glob("fold_*")):
            time.sleep(0.01)
        with cluster.connected(address) as client:
            victim = next(iter(client.run(os.getpid).values()))
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    many = samples.quietly(samples.config(folder, "killed", "smcn", scheduler=address, **asked))
    killer.join()
    assert numbers(one) == numbers(many)


def test_what_cannot_work_is_refused_before_any_work(
    folder: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="--jobs and --scheduler exclude each other"):
        fit(samples.config(folder, "both", "smcn", scheduler=address, jobs=2), say=lambda line: None)
    with pytest.raises(UsageError, match="expected an address such as"):
        fit(samples.config(folder, "nowhere", "smcn", scheduler="nonsense"), say=lambda line: None)
    with socket.create_server(("127.0.0.1", 0)) as silent, monkeypatch.context() as patched:
        patched.setattr(cluster, "CONNECT_SECONDS", 1.0)
        where = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UsageError, match="no Dask scheduler answers at"):
            fit(samples.config(folder, "nowhere", "smcn", scheduler=where), say=lambda line: None)
    assert not list(folder.glob("nowhere*")), "nothing is left of a call that could not begin"


def test_a_notebook_with_an_event_loop_of_its_own_can_ask(address: str) -> None:
    async def cell() -> str:
        cluster.answers(address)
        with pytest.raises(UsageError, match="expected an address such as"):
            cluster.answers("nonsense")
        return "went on"

    assert asyncio.run(cell()) == "went on"
