"""Mutated stores, manifests and checkpoints: each is read, or refused with a clear message; never a crash or a hang."""

from __future__ import annotations

import os
import random
import resource
import signal
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fuzz_inputs import bytes_mutated, checkpoint_mutated, manifest_mutated, metadata_mutated, store_rebuilt
from hdf5_checksums import spans
from store_samples import arrays, manifest
from store_seen import read_everything
from train_samples import shrunk

from emofuse.common.errors import EmofuseError
from emofuse.manifests.jsonl import read_manifest, write_manifest
from emofuse.store import FeatureData, write_store
from emofuse.store.core.reader import FeatureStore
from emofuse.store.edit.rewrite import copy
from emofuse.train.fitting import model_file
from emofuse.train.models.base import Inputs
from emofuse.train.models.registry import MODELS

MEMORY, SECONDS, BATCH = 1 << 30, 10, 500
"""Bytes beyond those in use, and seconds, that one input may take; inputs of one child."""
Trial = Callable[[random.Random], None]


def trials(folder: Path) -> dict[str, tuple[float, Trial]]:
    """Each kind of input: its share, and what makes one and reads it."""
    small, int8, lines, weights = (folder / n for n in ("base.h5", "int8.h5", "base.jsonl", "base.safetensors"))
    m = manifest(5)
    whole = {
        "hubert": FeatureData(modality="audio", arrays=arrays(m)),
        "bert": FeatureData(modality="text", arrays=arrays(m, layers=2), layers=(1, 2)),
    }
    write_store(small, m, whole)
    with FeatureStore(small) as store:
        copy(store, int8, ["bert"], dtype="int8")
    write_manifest(m, lines)
    made = []
    for name in ("concat", "mmrbn"):
        inputs = Inputs(audio=6, text=5, classes=4)
        recipe = model_file.ModelRecipe(
            model=name, settings=shrunk(MODELS[name].preset("")), inputs=inputs, classes=tuple("abcd")
        )
        model_file.save(weights, recipe, recipe.build().state_dict(), {"audio": (torch.zeros(6), torch.ones(6))})
        made.append(weights.read_bytes())
    stores = [(p.read_bytes(), spans(p.read_bytes())) for p in (small, int8)]
    text, input_ = lines.read_text(), folder / "input"

    def rebuilt(rng: random.Random) -> None:
        input_.write_bytes(rng.choice(stores)[0])
        store_rebuilt(input_, rng)
        read_everything(input_)

    def reading(read: Callable[[Path], object], make: Callable[[random.Random], bytes]) -> Trial:
        def trial(rng: random.Random) -> None:
            input_.write_bytes(make(rng))
            read(input_)

        return trial

    def digested(path: Path) -> None:
        read_manifest(path).digest()

    return {
        "store, bytes": (3, reading(read_everything, lambda rng: bytes_mutated(rng.choice(stores)[0], rng))),
        "store, metadata": (8, reading(read_everything, lambda rng: metadata_mutated(*rng.choice(stores), rng))),
        "store, rebuilt": (3, rebuilt),
        "manifest, bytes": (1, reading(digested, lambda rng: bytes_mutated(text.encode(), rng))),
        "manifest, rows": (2, reading(digested, lambda rng: manifest_mutated(text, rng))),
        "checkpoint, bytes": (1, reading(model_file.load, lambda rng: bytes_mutated(rng.choice(made), rng))),
        "checkpoint, header": (2, reading(model_file.load, lambda rng: checkpoint_mutated(rng.choice(made), rng))),
    }


def child(kinds: dict[str, tuple[float, Trial]], first: int, last: int, pipe: int) -> None:
    """Try the inputs of these numbers, and report each before it is read, and how it ended."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (pages + MEMORY, pages + MEMORY))
    names, weights = list(kinds), [share for share, _ in kinds.values()]
    for number in range(first, last):
        rng = random.Random(number)
        kind = rng.choices(names, weights)[0]
        os.write(pipe, f"{number}\t{kind}\t".encode())
        signal.alarm(SECONDS)
        try:
            kinds[kind][1](rng)
            outcome = "read"
        except EmofuseError:
            outcome = "refused"
        except BaseException as error:
            outcome = f"BAD {type(error).__name__}: {error} {traceback.extract_tb(error.__traceback__)[-3:]}"
        signal.alarm(0)
        os.write(pipe, (outcome.replace("\n", " ")[:900] + "\n").encode(errors="replace"))


def fuzz(folder: Path, count: int, start: int = 0) -> tuple[Counter[str], list[str]]:
    """Try that many inputs; how they ended, and those that ended badly."""
    kinds, ended, bad, number = trials(folder), Counter[str](), [], start
    torch.set_num_threads(1)
    while number < start + count:
        reading, writing = os.pipe()
        process = os.fork()
        if not process:
            os.close(reading)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            try:
                child(kinds, number, min(number + BATCH, start + count), writing)
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading, errors="replace") as pipe:  # noqa: PTH123 - a pipe
            lines = pipe.read().split("\n")
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        for line in lines:
            if not line:
                continue
            cells = line.split("\t")
            number = int(cells[0]) + 1
            outcome = cells[2] or f"BAD ended by {status}"
            ended[f"{cells[1]}: {outcome.split()[0]}"] += 1
            if outcome.startswith("BAD"):
                bad.append(line + ("" if cells[2] else outcome))
    return ended, bad


@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=pytest.mark.slow)])
def test_every_input_is_read_or_refused(count: int, tmp_path: Path) -> None:
    ended, bad = fuzz(tmp_path, count, start=count)
    print("\n" + "\n".join(f"{n} {how}" for how, n in sorted(ended.items())))
    assert sum(ended.values()) == count
    assert not bad, "\n".join(bad[:20])
    assert len({how.split(":")[0] for how in ended}) == 7, "every kind was tried"
