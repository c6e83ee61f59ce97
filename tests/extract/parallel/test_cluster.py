"""The workers of a Dask cluster, which are processes of their own, come to the store that one process makes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_speech_models as speech
from extract_samples import COMMAND, OWN, corpus, extract, put_wav  # noqa: F401
from shard_samples import same

from emofuse.common.disk.locking import lock
from emofuse.common.errors import UsageError
from emofuse.common.system import cluster
from emofuse.extract.parallel.cluster import inspect, look
from emofuse.store import FeatureStore
from emofuse.store.inspect.verify import verify

HUBERT = ("--encoder", "hubert", "--weights", "hubert", "--dtype", "fp32", "--device", "cpu")
# Shards of some seconds of audio, so that a small corpus makes several.
SMALL_SHARDS = (
    "from emofuse.common import cluster; from emofuse.extract import shards; "
    "shards.SHARD_WORK = {'audio': 70000.0, 'text': 250.0}; cluster.CONNECT_SECONDS = 2.0; "
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with cluster.local(2, gpus=0) as found:
        yield found


@pytest.fixture
def here(corpus: Path) -> Path:  # noqa: F811
    rows = []
    for i in range(8, 72):
        put_wav(corpus / "own" / f"c{i}.wav", 2.0 + 0.05 * i, seed=i)
        rows.append(f"c{i},c{i}.wav,this is clip number {i},sad,s{i % 3},{i % 2}\n")
    with (corpus / "own" / "own.csv").open("a") as file:
        file.writelines(rows)
    (corpus / "hubert").mkdir()
    speech.save(corpus / "hubert", "hubert")
    return corpus


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SMALL_SHARDS + COMMAND[-1], *OWN, *words, "--quiet"]
    return subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    return out


def test_workers_make_the_same_store(here: Path, address: str) -> None:
    words = (*HUBERT, "--encoder", "logmel", "--encoder", "hashed", "--views", "frames,mean", "--budget", "20")
    finish(start(here, *words, "--scheduler", address, "--store", "many.h5"))
    assert sorted(p.name for p in here.glob("many*")) == ["many.h5"]
    # The workers have one thread each; so has this process.
    one = extract(here, *OWN, *words, "--store", "one.h5", environment={"OMP_NUM_THREADS": "1"})
    assert one.returncode == 0, one.stderr
    same(str(here / "one.h5"), str(here / "many.h5"))
    assert all(v.sound for v in verify(here / "many.h5"))
    again = finish(start(here, *words, "--scheduler", address, "--store", "many.h5"))
    assert again.count("nothing to do") == 6


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_costs_its_batch_alone(here: Path, address: str) -> None:
    words = (*HUBERT, "--layers", "all", "--budget", "6")
    process = start(here, *words, "--scheduler", address, "--store", "killed.h5")
    part = _growing(here, process)
    with FeatureStore(part) as store:
        written = int((store.feature("hubert").marks() != 0).sum())
    victim = _holder(part)
    os.kill(victim, signal.SIGKILL)
    finish(process)
    assert written > 0
    assert extract(here, *OWN, *words, "--store", "one.h5", environment={"OMP_NUM_THREADS": "1"}).returncode == 0
    same(str(here / "one.h5"), str(here / "killed.h5"))
    assert sorted(p.name for p in here.glob("killed*")) == ["killed.h5"]


def _growing(folder: Path, process: subprocess.Popen[str]) -> Path:
    """A part in which something is written, and something is not."""
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        for part in folder.glob("killed.h5.hubert.shards/*.part"):
            try:
                with FeatureStore(part) as store:
                    marks = store.feature("hubert").marks()
            except Exception:  # it is being made, or has just become a shard
                continue
            if 0 < (marks != 0).sum() < len(marks):
                return part
        time.sleep(0.005)
    pytest.fail(f"no part was seen growing: {process.communicate()}")


def _holder(part: Path) -> int:
    said = part.with_name(part.name + ".lock").read_text()
    return next(int(word.strip(",")) for word in said.split() if word.strip(",").isdigit())


def test_workers_are_looked_at_before_any_work(here: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from emofuse.extract.commands.options import read
    from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions
    from emofuse.extract.plan.job import EncoderRecipe, FeatureJob

    options: dict[str, Any] = {"transcripts": None, "meld_clips": None, "manifest_file": here / "own" / "own.csv"}
    manifest, root = read("custom", here / "own", None, **options)
    recipe = EncoderRecipe(encoder="logmel", options=EncoderOptions())
    job = FeatureJob(
        store=here / "own.h5", manifest=manifest, root=root, clips={}, encoder=ENCODERS["logmel"].build(recipe.options),
        recipe=recipe, feature="logmel", dtype="float32", device="cpu", provenance={},
    )  # fmt: skip
    with cluster.connected(address, 2) as client:
        assert inspect(client, [job], "cpu") == "cpu"
        with pytest.raises(UsageError, match="0 CUDA devices") as refused:
            inspect(client, [job], "cuda")
        assert str(refused.value).count("worker tcp://") == 2
        seen = client.run(look, Path("/nowhere"), ("c0.wav", 1), here / "token", "x", "cpu")
        assert all("has no /nowhere/c0.wav" in s.problem and "does not see" in s.problem for s in seen.values())
        with monkeypatch.context() as patched:
            patched.setattr(cluster, "_version", lambda package: "9.9" if package == "emofuse" else None)
            with pytest.raises(UsageError, match=r"has emofuse .* \(here 9.9\)"):
                inspect(client, [replace(job)], "cpu")
    assert sorted(p.name for p in here.iterdir()) == ["hubert", "own"]


def test_no_scheduler_no_workers_no_traceback(here: Path) -> None:
    logmel = (*OWN, "--encoder", "logmel", "--scheduler")
    for wrong, said in (
        ("nonsense://x", "unknown address scheme"),
        ("foo", "missing port"),
        ("tcp://127.0.0.1:9", "no Dask scheduler answers"),
    ):
        process = start(here, *logmel[len(OWN) :], wrong)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2
        assert said in err
        assert "Traceback" not in err
    assert not (here / "own.h5").exists()


@pytest.mark.slow
def test_a_workers_refusal_comes_back_as_it_is(here: Path, address: str) -> None:
    import resource

    words = (*HUBERT, "--layers", "all", "--dtype", "fp32", "--store", "large.h5")
    with cluster.connected(address, 2) as client:
        before = client.run(resource.getrlimit, resource.RLIMIT_FSIZE)
        client.run(resource.setrlimit, resource.RLIMIT_FSIZE, (60_000, next(iter(before.values()))[1]))
        try:
            process = start(here, *words, "--scheduler", address)
            _, err = process.communicate(timeout=120)
        finally:
            client.run(resource.setrlimit, resource.RLIMIT_FSIZE, next(iter(before.values())))
    assert process.returncode == 3, err
    assert "no room in" in err
    assert "Traceback" not in err
    finish(start(here, *words, "--scheduler", address))
    with FeatureStore(here / "large.h5") as store:
        assert len(store.feature("hubert").ids) == 72


@pytest.mark.slow
def test_an_interrupted_call_is_gone_on_with_while_its_workers_still_finish(here: Path, address: str) -> None:
    words = (*HUBERT, "--layers", "all", "--budget", "6", "--store", "killed.h5", "--scheduler", address)
    process = start(here, *words)
    part = _growing(here, process)
    worker = _holder(part)
    os.kill(worker, signal.SIGSTOP)  # it is still at work when its client goes
    try:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        os.kill(worker, signal.SIGCONT)
    assert process.returncode == 130, err
    finish(start(here, *words))
    with FeatureStore(here / "killed.h5") as store:
        assert len(store.feature("hubert").ids) == 72


def _listening() -> list[str]:
    import psutil

    return [c.laddr.ip for c in psutil.Process().net_connections("inet") if c.status == psutil.CONN_LISTEN]


def test_local_workers_listen_on_this_machine_alone(address: str) -> None:
    with cluster.connected(address, 2) as client:
        heard = [ip for found in client.run(_listening).values() for ip in found]
    assert set(heard) == {"127.0.0.1"}


@pytest.mark.slow
def test_long_names_two_commands_at_once_and_a_dry_run(here: Path, address: str) -> None:
    words = ("--encoder", "logmel", "--name", "x" * 90, "--views", "frames,mean,statistics", "--scheduler", address)
    finish(start(here, *words))
    with FeatureStore(here / "own.h5") as store:
        assert len(store.features) == 3
    assert sorted(p.name for p in here.iterdir()) == ["hubert", "own", "own.h5"]
    with lock(here / "own.h5.hashed.shards.lock", "{holder}"):
        busy = start(here, "--encoder", "hashed", "--scheduler", address)
        assert "another command works in" in busy.communicate(timeout=60)[1]
        assert busy.returncode == 2
    told = extract(here, *OWN, "--encoder", "hashed", "--store", "new/own.h5", "--workers", "2", "--dry-run")
    assert told.returncode == 0, told.stderr
    assert not (here / "new").exists()
