"""Reading and writing a store beside the usual ways, interleaved in one run, as ratios.

    python benchmarks/store.py [--utterances 1000]

HuBERT-like frames (float16, 768 wide, 30 to 1700 frames an utterance), batches of 32 utterances of like length into a
reused buffer, warm cache. Prints medians, as multiples of a copy from memory (reading) and of a raw
write with fsync (writing).
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
from pathlib import Path

import h5py
import numpy as np

from emofuse.manifests.schema import Manifest, Utterance
from emofuse.store import FeatureData, FeatureStore, write_store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        found = measure(Path(folder), options.utterances, options.rounds)
    print(json.dumps(found, indent=2))
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")


def measure(folder: Path, utterances: int, rounds: int) -> dict[str, object]:
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(5.2, 0.7, utterances), 30, 1700).astype(int)
    arrays = {f"u{i}": rng.standard_normal((t, 768), "f4").astype("f2") for i, t in enumerate(lengths)}
    manifest = Manifest(corpus="bench", reader="bench-1", utterances=tuple(Utterance(id=i, text=i) for i in arrays))
    encoded = {id: values.astype("f4") for id, values in arrays.items()}  # encoders give float32
    feature = {"hubert": FeatureData(modality="audio", arrays=encoded)}
    store_path, flat = folder / "s.h5", np.concatenate([*arrays.values()])
    (folder / "npy").mkdir()

    def raw_write() -> None:
        with (folder / "raw").open("wb") as file:
            file.write(flat.data)
            os.fsync(file.fileno())

    def store_write() -> None:
        store_path.unlink(missing_ok=True)
        write_store(store_path, manifest, feature)

    def npy_write() -> None:
        for id, values in arrays.items():
            np.save(folder / "npy" / f"{id}.npy", values)
        os.sync()

    writing = interleaved({"raw write": raw_write, "store": store_write, "npy per utterance": npy_write}, rounds)
    order = [f"u{i}" for i in np.argsort(lengths)]
    batches = [order[i : i + 32] for i in range(0, len(order), 32)]
    buffer = np.empty((32 * int(lengths.max()), 768), "f2")

    def copied(read: Callable[[str], np.ndarray]) -> None:
        for batch in batches:
            at = 0
            for id in batch:
                values = read(id)
                buffer[at : at + len(values)] = values
                at += len(values)

    with FeatureStore(store_path) as store, h5py.File(store_path) as plain:
        opened = store.feature("hubert")
        values = plain["features/hubert/values"]
        where = {id: (int(opened.starts[i]), int(opened.lengths[i])) for id, i in opened.position.items()}
        reading = interleaved(
            {
                "copy from memory": lambda: copied(arrays.__getitem__),
                "store, verified": lambda: [opened.read(batch, out=buffer) for batch in batches] and None,
                "store": lambda: [opened.read(batch, verify=False, out=buffer) for batch in batches] and None,
                "h5py": lambda: copied(lambda id: values[where[id][0] : sum(where[id])]),
                "npy per utterance": lambda: copied(lambda id: np.load(folder / "npy" / f"{id}.npy")),
            },
            rounds,
        )
    payload = flat.nbytes
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, h5py {h5py.__version__}",
        "megabytes": round(payload / 1e6),
        "write": ratios(writing, "raw write"),
        "read": ratios(reading, "copy from memory"),
        "size over payload": round(store_path.stat().st_size / payload, 4),
    }


def interleaved(ways: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median seconds of each way, one after the other in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(s) for name, s in seconds.items()}


def ratios(seconds: dict[str, float], base: str) -> dict[str, float]:
    return {name: round(s / seconds[base], 2) for name, s in seconds.items()}


if __name__ == "__main__":
    main()
