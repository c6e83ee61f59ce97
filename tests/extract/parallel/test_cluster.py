"""The workers of a Dask cluster, which are separate processes, give the store of a single process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_speech_models as speech
from extract_samples import COMMAND, OWN, corpus, extract, put_wav  # noqa: F401
from shard_samples import assert_same_store

from emofuse.common.disk.locking import lock
from emofuse.common.errors import UsageError
from emofuse.common.system import dask_cluster
from emofuse.extract.parallel.cluster import inspect_worker, inspect_workers
from emofuse.store import FeatureStore
from emofuse.store.inspect.verify import verify

HUBERT = ("--encoder", "hubert", "--weights", "hubert", "--dtype", "fp32", "--device", "cpu")
# Shards of some seconds of audio, so that a small corpus makes several.
SMALL_SHARDS = (
    "from emofuse.common.system import dask_cluster as cluster; from emofuse.extract.parallel import shards; "
    "shards.SHARD_WORK = {'audio': 70000.0, 'text': 250.0}; cluster.CONNECT_SECONDS = 2.0; "
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with dask_cluster.local_cluster(2, gpus=0) as found:
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


def start(folder: Path, *options: str, new_session: bool = False) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SMALL_SHARDS + COMMAND[-1], *OWN, *options, "--quiet"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, text=True, start_new_session=new_session, **pipes)


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    return out


@pytest.mark.slow
def test_workers_make_the_same_store(here: Path, address: str) -> None:
    options = (*HUBERT, "--encoder", "logmel", "--encoder", "hashed", "--views", "frames,mean", "--budget", "20")
    finish(start(here, *options, "--scheduler", address, "--store", "many.h5"))
    assert sorted(p.name for p in here.glob("many*")) == ["many.h5"]
    # The workers have one thread each; so has this process.
    single = extract(here, *OWN, *options, "--store", "one.h5", environment={"OMP_NUM_THREADS": "1"})
    assert single.returncode == 0, single.stderr
    assert_same_store(str(here / "one.h5"), str(here / "many.h5"))
    assert all(v.intact for v in verify(here / "many.h5"))
    again = finish(start(here, *options, "--scheduler", address, "--store", "many.h5"))
    assert again.count("nothing to do") == 6


@pytest.mark.slow
def test_a_killed_worker_loses_only_its_batch(here: Path, address: str) -> None:
    options = (*HUBERT, "--layers", "all", "--budget", "6")
    process = start(here, *options, "--scheduler", address, "--store", "killed.h5")
    partial = _growing(here, process)
    with FeatureStore(partial) as store:
        written = int((store.feature("hubert").marks() != 0).sum())
    victim = _holder(partial)
    os.kill(victim, signal.SIGKILL)
    shutil.copy(partial, here / "part.h5")
    (check,) = verify(here / "part.h5")
    assert (check.damaged, check.unreadable) == ((), None), "what was marked as written is whole"
    finish(process)
    assert written > 0
    assert extract(here, *OWN, *options, "--store", "one.h5", environment={"OMP_NUM_THREADS": "1"}).returncode == 0
    assert_same_store(str(here / "one.h5"), str(here / "killed.h5"))
    assert sorted(p.name for p in here.glob("killed*")) == ["killed.h5"]


@pytest.mark.slow
def test_a_call_that_is_killed_with_all_its_workers_resumes(here: Path) -> None:
    options = (*HUBERT, "--layers", "all", "--budget", "6", "--workers", "2", "--store", "killed.h5")
    process = start(here, *options, new_session=True)
    _growing(here, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    parts = sorted(here.glob("killed.h5.hubert.shards/*.part"))
    assert parts
    for part in parts:
        (check,) = verify(part)
        assert (check.damaged, check.unreadable) == ((), None)
    finish(start(here, *options))
    assert all(check.intact and check.utterances for check in verify(here / "killed.h5"))
    assert sorted(p.name for p in here.iterdir() if "killed" in p.name) == ["killed.h5"]


def test_files_of_a_call_that_was_killed_during_the_inspection_are_removed(tmp_path: Path) -> None:
    old, new, other = (tmp_path / name for name in (".s.h5.0123abcd", ".s.h5.4567cdef", ".s.h5.notes"))
    for file in (old, new, other):
        file.write_text("token")
    for file in (old, other):
        os.utime(file, (0, 0))
    dask_cluster.remove_stale_tokens(tmp_path, "s.h5")
    assert sorted(tmp_path.iterdir()) == sorted([new, other])


def _growing(folder: Path, process: subprocess.Popen[str]) -> Path:
    """A partial store with some of its values written."""
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        for partial in folder.glob("killed.h5.hubert.shards/*.part"):
            try:
                with FeatureStore(partial) as store:
                    marks = store.feature("hubert").marks()
            except Exception:  # it is being created, or has just become a shard
                continue
            if 0 < (marks != 0).sum() < len(marks):
                return partial
        time.sleep(0.005)
    pytest.fail(f"no partial store was seen: {process.communicate()}")


def _holder(partial: Path) -> int:
    text = partial.with_name(partial.name + ".lock").read_text()
    return next(int(word.strip(",")) for word in text.split() if word.strip(",").isdigit())


def test_workers_are_inspected_before_any_work(here: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from emofuse.datasets.base import ReaderOptions
    from emofuse.extract.audio.scan import read_dataset
    from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions
    from emofuse.extract.plan.job import EncoderRecipe, FeatureJob

    options = ReaderOptions(manifest=here / "own" / "own.csv")
    manifest, root = read_dataset("custom", here / "own", options=options)
    recipe = EncoderRecipe(encoder="logmel", options=EncoderOptions())
    job = FeatureJob(
        store=here / "own.h5", manifest=manifest, root=root, clips={}, encoder=ENCODERS["logmel"].build(recipe.options),
        recipe=recipe, feature="logmel", dtype="float32", device="cpu", provenance={},
    )  # fmt: skip
    with dask_cluster.connect_client(address, 2) as client:
        assert inspect_workers(client, [job], "cpu") == "cpu"
        with pytest.raises(UsageError, match="0 CUDA devices") as refused:
            inspect_workers(client, [job], "cuda")
        assert str(refused.value).count("worker tcp://") == 2
        seen = client.run(inspect_worker, Path("/nowhere"), ("c0.wav", 1), here / "token", "x", "cpu")
        assert all("has no /nowhere/c0.wav" in s.problem and "does not see" in s.problem for s in seen.values())
        with monkeypatch.context() as patched:
            patched.setattr(dask_cluster, "_version", lambda package: "9.9" if package == "emofuse" else None)
            with pytest.raises(UsageError, match=r"has emofuse .* \(here 9.9\)"):
                inspect_workers(client, [replace(job)], "cpu")
    assert sorted(p.name for p in here.iterdir()) == ["hubert", "own"]


@pytest.mark.slow
def test_no_scheduler_no_workers_no_traceback(here: Path) -> None:
    logmel = (*OWN, "--encoder", "logmel", "--scheduler")
    for wrong, message in (
        ("nonsense://x", "unknown address scheme"),
        ("foo", "missing port"),
        ("tcp://127.0.0.1:9", "no Dask scheduler answers"),
    ):
        process = start(here, *logmel[len(OWN) :], wrong)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2, err
        assert message in err
        assert "Traceback" not in err
    assert not (here / "own.h5").exists()


@pytest.mark.slow
def test_a_workers_error_is_raised_unchanged(here: Path, address: str) -> None:
    import resource

    options = (*HUBERT, "--layers", "all", "--dtype", "fp32", "--store", "large.h5")
    with dask_cluster.connect_client(address, 2) as client:
        before = client.run(resource.getrlimit, resource.RLIMIT_FSIZE)
        client.run(resource.setrlimit, resource.RLIMIT_FSIZE, (60_000, next(iter(before.values()))[1]))
        try:
            process = start(here, *options, "--scheduler", address)
            _, err = process.communicate(timeout=120)
        finally:
            client.run(resource.setrlimit, resource.RLIMIT_FSIZE, next(iter(before.values())))
    assert process.returncode == 3, err
    assert "no space in" in err
    assert "Traceback" not in err
    finish(start(here, *options, "--scheduler", address))
    with FeatureStore(here / "large.h5") as store:
        assert len(store.feature("hubert").ids) == 72


@pytest.mark.slow
def test_an_interrupted_call_is_resumed_while_its_workers_still_finish(here: Path, address: str) -> None:
    options = (*HUBERT, "--layers", "all", "--budget", "6", "--store", "killed.h5", "--scheduler", address)
    process = start(here, *options)
    partial = _growing(here, process)
    worker = _holder(partial)
    os.kill(worker, signal.SIGSTOP)  # it is still at work when its client goes
    try:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        os.kill(worker, signal.SIGCONT)
    assert process.returncode == 130, err
    finish(start(here, *options))
    with FeatureStore(here / "killed.h5") as store:
        assert len(store.feature("hubert").ids) == 72


def _listening() -> list[str]:
    import psutil

    return [c.laddr.ip for c in psutil.Process().net_connections("inet") if c.status == psutil.CONN_LISTEN]


def test_local_workers_listen_on_this_machine_alone(address: str) -> None:
    with dask_cluster.connect_client(address, 2) as client:
        addresses = [ip for found in client.run(_listening).values() for ip in found]
    assert set(addresses) == {"127.0.0.1"}


@pytest.mark.slow
def test_long_names_two_commands_at_once_and_a_dry_run(here: Path, address: str) -> None:
    options = ("--encoder", "logmel", "--name", "x" * 90, "--views", "frames,mean,statistics", "--scheduler", address)
    finish(start(here, *options))
    with FeatureStore(here / "own.h5") as store:
        assert len(store.features) == 3
    assert sorted(p.name for p in here.iterdir()) == ["hubert", "own", "own.h5"]
    with lock(here / "own.h5.hashed.shards.lock", "{holder}"):
        busy = start(here, "--encoder", "hashed", "--scheduler", address)
        assert "another command works in" in busy.communicate(timeout=60)[1]
        assert busy.returncode == 2
    dry = extract(here, *OWN, "--encoder", "hashed", "--store", "new/own.h5", "--workers", "2", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert not (here / "new").exists()
