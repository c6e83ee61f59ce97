"""Writing, reading, opening and size of a store beside the usual methods, interleaved in one run, as ratios.

    python benchmarks/store.py [--utterances 1000] [--out results.json]

HuBERT-like frames (float16, 768 dimensions, 30 to 1700 per utterance), batches of 32 utterances copied into a reused
buffer, warm cache. Prints medians: writing as multiples of a raw write with fsync, reading everything as multiples of a
raw read of the same bytes, batches as multiples of a copy from memory. The rivals need
`pip install "emofuse[exchange]" zarr lilcom`; missing ones are left out and listed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from store_rivals import METHODS, Ours, gathered

from emofuse.store import FeatureStore

PACKAGES = ("emofuse", "h5py", "numpy", "lhotse", "datasets", "pyarrow", "zarr", "lilcom")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--ways", dest="methods", default=",".join(METHODS), help="separated by commas; names may be abbreviated"
    )
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    options = parser.parse_args()
    chosen = {n: w for n, w in METHODS.items() if any(n.startswith(o) for o in options.methods.split(","))}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        found = measure(Path(folder), options.utterances, options.rounds, chosen)
    print(json.dumps(found, indent=2))
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The arrays that every method writes and reads."""

    folder: Path
    arrays: dict[str, np.ndarray]
    flat: np.ndarray
    """All frames end to end."""
    rounds: int
    shuffled: list[str]
    by_length: list[str]


def make_case(folder: Path, utterances: int, rounds: int) -> Case:
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(5.2, 0.7, utterances), 30, 1700).astype(int)
    arrays = {f"u{i:05d}": rng.standard_normal((t, 768), "f4").astype("f2") for i, t in enumerate(lengths)}
    return Case(
        folder=folder,
        arrays=arrays,
        flat=np.concatenate([*arrays.values()]),
        rounds=rounds,
        shuffled=rng.permutation([*arrays]).tolist(),
        by_length=[f"u{i:05d}" for i in np.argsort(lengths)],
    )


def measure(folder: Path, utterances: int, rounds: int, chosen: dict[str, type]) -> dict[str, object]:
    case = make_case(folder, utterances, rounds)
    methods, absent, used = write_each(case, chosen)
    written = time_writing(case, methods)
    opening = interleaved({n: (lambda w=w: enter(w)) for n, w in methods.items()}, rounds)
    sequential, random, bucketed = time_reading(case, methods)
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "versions": {p: found for p in PACKAGES if (found := installed(p))},
        "utterances": utterances,
        "megabytes": round(case.flat.nbytes / 1e6),
        "absent": absent,
        "write, times a raw write and fsync": ratios(written, "raw write"),
        "open, milliseconds": {n: round(1000 * s, 2) for n, s in opening.items()},
        "read all, times a raw read": ratios(sequential, "raw read"),
        "random batches of 32, times a copy": ratios(random, "copy from memory"),
        "batches of like length, times a copy": ratios(bucketed, "copy from memory"),
        "size, times the payload": {n: round(b / case.flat.nbytes, 4) for n, b in used.items() if n in once(methods)},
    }


def write_each(case: Case, chosen: dict[str, type]) -> tuple[dict[str, Any], list[str], dict[str, int]]:
    """Write the file of every method; returns the methods, those that are not installed, and the bytes of each."""
    methods, absent, used = {}, [], {}
    for name, method in chosen.items():
        own = case.folder / name.replace(" ", "-")
        own.mkdir()
        methods[name] = method(own)
        before = disk(case.folder)
        try:
            methods[name].write(case.arrays)
        except ImportError as error:
            absent.append(f"{name}: {error}")
            del methods[name]
            continue
        used[name] = disk(case.folder) - before
    return methods, absent, used


def time_writing(case: Case, methods: dict[str, Any]) -> dict[str, float]:
    def raw_write() -> None:
        with (case.folder / "raw").open("wb") as file:
            file.write(case.flat.data)
            os.fsync(file.fileno())

    def cast_and_write() -> None:
        Ours(case.folder / "cast").write({i: a.astype("f4") for i, a in case.arrays.items()})

    (case.folder / "cast").mkdir()
    writing = {"raw write": raw_write, "emofuse, of float32": cast_and_write}
    writing |= {n: (lambda w=w: w.write(case.arrays)) for n, w in methods.items() if n in once(methods)}
    return interleaved(writing, max(3, case.rounds // 2))


def time_reading(case: Case, methods: dict[str, Any]) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Seconds for reading everything, random batches, and batches of similar length."""
    longest = max(len(a) for a in case.arrays.values())
    buffer, target = np.empty((32 * longest, 768), "f2"), np.empty_like(case.flat)
    raw_read = raw_reader(next(w.path for w in methods.values() if isinstance(w, Ours)), target)
    with ExitStack() as stack:
        readers = {n: stack.enter_context(w.opened()) for n, w in methods.items()}
        for name, read in readers.items():
            check_values(name, read, case, buffer)
        everything = {n: (lambda r=r: r([*case.arrays], target)) for n, r in readers.items()}
        sequential = interleaved({"raw read": raw_read, **everything}, case.rounds)
        readers = {"copy from memory": gathered(case.arrays.__getitem__), **readers}
        random, bucketed = (
            interleaved({n: (lambda r=r, o=order: batches(r, o, buffer)) for n, r in readers.items()}, case.rounds)
            for order in (case.shuffled, case.by_length)
        )
    return sequential, random, bucketed


def raw_reader(path: Path, target: np.ndarray) -> Callable[[], None]:
    """Reads the payload of the store's own file: how a file was written affects how fast the kernel copies it."""
    with FeatureStore(path) as store:
        first = store.feature("hubert").values_offset

    def read() -> None:
        with path.open("rb", buffering=0) as file:
            file.seek(first)
            view, done = memoryview(target).cast("B"), 0
            while done < len(view):
                done += file.readinto(view[done:])

    return read


def check_values(name: str, read: Callable[..., int], case: Case, buffer: np.ndarray) -> None:
    count = read(case.by_length[-3:], buffer)
    expected = np.concatenate([case.arrays[i] for i in case.by_length[-3:]])
    assert np.allclose(buffer[:count], expected, atol=0.3 if "lossy" in name else 0.0), f"{name} gives other values"


def once(methods: dict[str, object]) -> list[str]:
    """Methods that write their own file."""
    return [n for n in methods if n not in ("emofuse, unverified", "the same file by h5py")]


def batches(read: Callable[..., int], order: list[str], buffer: np.ndarray) -> None:
    for first in range(0, len(order), 32):
        read(order[first : first + 32], buffer)


def enter(method: object) -> None:
    with method.opened():
        pass


def disk(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def interleaved(methods: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each method, one after the other in every round, each round starting with a different one."""
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    order = [*methods.items()]
    for turn in range(rounds):
        first = turn * 3 % len(order)
        for name, method in order[first:] + order[:first]:
            started = time.perf_counter()
            method()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(s) for name, s in seconds.items()}


def ratios(seconds: dict[str, float], base: str) -> dict[str, float]:
    return {name: round(s / seconds[base], 2) for name, s in seconds.items()}


if __name__ == "__main__":
    main()
