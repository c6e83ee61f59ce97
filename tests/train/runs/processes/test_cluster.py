"""Folds and seeds trained on the workers of a Dask cluster give the results of one process."""

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
from diverging_samples import only_the_first_row_diverged, with_a_diverging_row
from job_samples import numbers
from paper_samples import raw, request, same_runs

from emofuse.common.disk.locking import lock
from emofuse.common.errors import UsageError
from emofuse.common.system import dask_cluster
from emofuse.train.api import fit
from emofuse.train.papers.published_table import parse
from emofuse.train.papers.reproduce import reproduce
from emofuse.train.search.search import search


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with dask_cluster.local_cluster(2, gpus=0) as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cluster")
    samples.store(made / "tiny.h5")
    samples.protocol_file(made)
    return made


@pytest.mark.slow
def test_workers_give_what_one_process_gives(folder: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = samples.quietly(samples.config(folder, "one", "smcn", jobs=1, seeds=2, folds="1,2"))
    monkeypatch.chdir(folder)  # the workers have another working directory
    here = Path()
    many = samples.quietly(samples.config(here, "many", "smcn", scheduler=address, seeds=2, folds="1,2"))
    assert len(numbers(one)) == 1 + 2 * (1 + 2 + 2)
    assert numbers(one) == numbers(many.resolve())


@pytest.mark.slow
def test_an_error_of_a_worker_is_raised_here(folder: Path, address: str) -> None:
    wrong = samples.config(folder, "wrong", "text", settings=("lr=1e30", "hidden=8"), scheduler=address)
    with pytest.raises(UsageError, match="the training loss is nan"):
        fit(wrong, say=lambda line: None)


@pytest.mark.slow
def test_workers_take_the_folds_of_several_rows(folder: Path, address: str) -> None:
    table = parse("tiny-table9", raw(folder))
    for name, how in (("alone", {"jobs": 1, "threads": 1}), ("shared", {"scheduler": address, "threads": 1})):
        reproduce(request(folder, table, runs=folder / name, **how), lambda line: None)
    same_runs(folder / "alone", folder / "shared")
    assert not list((folder / "shared").rglob("*under-way*"))


@pytest.mark.slow
def test_a_row_that_diverges_stops_no_other_on_a_cluster(folder: Path, address: str) -> None:
    asked = request(folder, with_a_diverging_row(folder), runs=folder / "diverged", scheduler=address)
    made = reproduce(asked, lambda line: None)
    sheet, where = made.results, made.folder
    only_the_first_row_diverged(asked.table, sheet, where)


@pytest.mark.slow
def test_a_search_on_workers_gives_what_one_process_gives(folder: Path, address: str) -> None:
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
    for number in (1, 2):  # no worker is still training
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
        with dask_cluster.connect_client(address) as client:
            victim = next(iter(client.run(os.getpid).values()))
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    many = samples.quietly(samples.config(folder, "killed", "smcn", scheduler=address, **asked))
    killer.join()
    assert numbers(one) == numbers(many)


def test_wrong_options_are_refused_before_any_work(folder: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="--jobs and --scheduler exclude each other"):
        fit(samples.config(folder, "both", "smcn", scheduler=address, jobs=2), say=lambda line: None)
    with pytest.raises(UsageError, match="expected an address such as"):
        fit(samples.config(folder, "nowhere", "smcn", scheduler="nonsense"), say=lambda line: None)
    with socket.create_server(("127.0.0.1", 0)) as silent, monkeypatch.context() as patched:
        patched.setattr(dask_cluster, "CONNECT_SECONDS", 1.0)
        where = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UsageError, match="no Dask scheduler answers at"):
            fit(samples.config(folder, "nowhere", "smcn", scheduler=where), say=lambda line: None)
    assert not list(folder.glob("nowhere*")), "a call that could not start leaves nothing behind"


def test_it_works_in_a_notebook_that_has_an_event_loop(address: str) -> None:
    async def cell() -> str:
        dask_cluster.check_scheduler(address)
        with pytest.raises(UsageError, match="expected an address such as"):
            dask_cluster.check_scheduler("nonsense")
        return "continued"

    assert asyncio.run(cell()) == "continued"
