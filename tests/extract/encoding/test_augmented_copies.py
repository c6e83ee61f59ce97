"""`extract --augment`: copies beside the feature, the same bits however the work is divided or interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from extract_samples import OWN, corpus, extract
from shard_samples import assert_same_store

from emofuse.store import FeatureStore, FeatureWriter
from emofuse.store.edit.merge import merge

__all__ = ["corpus"]
COPIES = ("--encoder", "logmel", "--augment", "noise,reverb,speed,gain", "--copies", "2", "--quiet")
NAMES = ["logmel", "logmel@copy1", "logmel@copy2"]


@pytest.fixture
def made(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The corpus with `own.h5`, made in one go."""
    done = extract(corpus, *OWN, *COPIES)
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(corpus)
    return corpus


def to(store: str) -> tuple[str, ...]:
    return (*OWN[:-1], store, *COPIES)


def test_copies_differ_from_the_clips_and_say_how_they_were_made(made: Path) -> None:
    with FeatureStore("own.h5") as store:
        assert list(store.features) == NAMES
        plain, first, second = (store[name] for name in NAMES)
        assert plain.ids == first.ids == second.ids
        assert len(store.manifest) == 8, "a copy is no utterance"
        for id in plain.ids:
            assert not np.array_equal(plain[id], first[id])
            assert not np.array_equal(first[id], second[id])
        assert (plain.is_copy, first.is_copy) == (False, True)
        made_by = second.fingerprint["augmentation"]
        assert (made_by["seed"], made_by["copy"], len(made_by["transforms"])) == (0, 2, 4)
        assert "0.4" in made_by["audiomentations"]
    assert extract(made, *OWN, *COPIES).stdout.count("nothing to do") == 3
    plain_only = extract(made, *OWN[:-1], "plain.h5", "--encoder", "logmel", "--quiet")
    assert plain_only.returncode == 0
    with FeatureStore("own.h5") as store, FeatureStore("plain.h5") as other:
        assert np.array_equal(store["logmel"].marks(), other["logmel"].marks())


def test_another_seed_is_refused_under_the_same_name_and_a_third_copy_is_added(made: Path) -> None:
    other = extract(made, *OWN, *COPIES, "--seed", "1")
    assert (other.returncode, "Traceback" in other.stderr) == (2, False)
    assert "augmentation.seed: stored 0, asked for 1" in other.stderr
    more = extract(made, *OWN, *COPIES[:-3], "--copies", "3", "--quiet")
    assert more.returncode == 0, more.stderr
    assert more.stdout.count("nothing to do") == 3
    with FeatureStore("own.h5") as store:
        assert list(store.features) == [*NAMES, "logmel@copy3"]


def test_an_interruption_changes_no_bit(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put, left = FeatureWriter.put, [11]

    def put_some(writer: FeatureWriter, *values: object) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        put(writer, *values)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(FeatureWriter, "put", put_some)
        assert extract(made, *to("again.h5")).returncode == 130
    assert list(made.glob("again.h5.*.part"))
    done = extract(made, *to("again.h5"))
    assert done.returncode == 0, done.stderr
    assert_same_store("own.h5", "again.h5")


@pytest.mark.usefixtures("made")
def test_shards_and_other_batches_change_no_bit(made: Path) -> None:
    for number in ("1", "2"):
        done = extract(made, *to("all.h5"), "--shard", f"{number}/2", "--budget", "2")
        assert done.returncode == 0, done.stderr
    merge(Path("all.h5"), sorted(made.glob("all.shard-*.h5")))
    assert_same_store("own.h5", "all.h5")


@pytest.mark.slow
def test_worker_processes_change_no_bit(made: Path) -> None:
    command = (*to("many.h5"), "--workers", "2")
    done = extract(made, *command, environment={"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert_same_store("own.h5", "many.h5")


@pytest.mark.slow
def test_a_killed_process_is_resumed_without_a_difference(made: Path) -> None:
    dying = """
import os, signal
from emofuse.store.core.writer import FeatureWriter
put, count = FeatureWriter.put, 0
def put_and_die(writer, *values):
    global count
    put(writer, *values)
    count += 1
    if count == 11:
        os.kill(os.getpid(), signal.SIGKILL)
FeatureWriter.put = put_and_die
from emofuse.extract.commands.extract import main
main()
"""
    killed = subprocess.run([sys.executable, "-c", dying, *to("killed.h5")], cwd=made)
    assert killed.returncode == -signal.SIGKILL
    assert extract(made, *to("killed.h5")).returncode == 0
    assert_same_store("own.h5", "killed.h5")


def test_views_and_texts_of_one_call(corpus: Path) -> None:
    done = extract(corpus, *OWN, *COPIES[:-3], "--encoder", "hashed", "--views", "frames,statistics", "--quiet")
    assert done.returncode == 0, done.stderr
    with FeatureStore(corpus / "own.h5") as store:
        copies = [name for name in store if store[name].is_copy]
        assert copies == ["logmel-statistics@copy1", "logmel@copy1"]
        assert {"hashed", "hashed-statistics"} <= set(store), "texts have no copies"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--encoder", "hashed", "--augment", "noise"), "reads no audio"),
        (("--encoder", "logmel", "--copies", "2"), "copies=2 has no effect without augment"),
        (("--encoder", "logmel", "--augment", "noisy"), "Valid: gain, noise, reverb, speed"),
    ],
)
def test_what_has_no_effect_is_refused(corpus: Path, options: tuple[str, ...], message: str) -> None:
    done = extract(corpus, *OWN, *options)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert message in done.stderr
    assert not (corpus / "own.h5").exists()
