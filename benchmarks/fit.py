"""Fitting beside the plain loop, interleaved in one run, as ratios; with the floor of compute.

    python benchmarks/fit.py --root corpora/iemocap [--model smcn --model mmrbn ...] [--out fit.json]
    python benchmarks/fit.py --root corpora/iemocap --model smcn --losses 200
    python benchmarks/fit.py --root corpora/iemocap --device cuda

Features have the papers' widths and rates at IEMOCAP's real lengths; their values are random, which costs the same.
(a) ours, as `fit --jobs auto`: a process for each core, one fold in each. (b) the plain loop of a paper's
repository: a DataLoader over the store, fp32, one process with all cores, SMCN padded to 500 frames and 150 words, the
others to the longest of a random batch. (c) where MMSA is installed (`fit_peer.py`), its MulT and LMF: `--model mult
--model lmf`. (d) the floor: the matrix products of the true lengths at the measured rate.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import fit_case
import fit_peer
import torch

from emofuse.common.system.allocator import LARGE_PAGES
from emofuse.common.system.machine import usable_cores
from emofuse.train.resolve.config import FitConfig

MODELS = ("smcn", "mmrbn", "mcfn", "msmser", "coattention")
PEERS = ("mult", "lmf")
EVALUATIONS = 10


class Side:
    """A process that runs one method; ours has the environment that `fit` sets."""

    def __init__(self, config: FitConfig, threads: int, kind: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(1, context, initializer=fit_case.begin, initargs=(config, threads, kind))
        self.ask = self.pool.submit
        before = dict(os.environ)
        os.environ.update(LARGE_PAGES if kind == "ours" else {})
        self.ask(int).result()
        os.environ.clear()
        os.environ.update(before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="a laid-out or real IEMOCAP")
    parser.add_argument("--model", action="append", dest="models", choices=(*MODELS, *PEERS))
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="about, for each method and round; at least 2 steps"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, help="our processes [one for each core; one on a GPU]")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--losses", type=int, metavar="STEPS", help="instead compare the losses over this many steps")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    options = parser.parse_args()
    found: dict[str, Any] = {"machine": machine(options.device), "torch": torch.__version__, "models": {}}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for model in options.models or MODELS:
            path = Path(folder) / "case.h5"
            fit_case.write_case(options.root, model, path)
            config = FitConfig(store=path, model=model, device=options.device, allow_missing=10_000,
                               settings=fit_peer.SETTINGS.get(model, ()))  # fmt: skip
            found["models"][model] = compare(options, config) if options.losses else measure(options, config)
            path.unlink()
            print(json.dumps(found["models"][model], indent=2), file=sys.stderr, flush=True)
    print(json.dumps(found, indent=2))
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")


def measure(options: argparse.Namespace, config: FitConfig) -> dict[str, Any]:
    jobs = options.jobs or (1 if options.device.startswith("cuda") else usable_cores())
    ours = [Side(config, max(1, usable_cores() // jobs), "ours") for _ in range(jobs)]
    others = {"plain": Side(config, usable_cores(), "plain")}
    if config.model in PEERS and fit_peer.installed():
        others["peer"] = Side(config, usable_cores(), "peer")
    rates, floors = time_rounds(options, config, ours, others)
    seconds = ours[0].ask(fit_case.evaluation_seconds).result()
    result = summary(fit_case.work_of(options, config), rates, floors, jobs, seconds)
    result |= {
        "peak of a process of ours, MB": max(side.ask(fit_case.peak_megabytes).result() for side in ours),
        "peak of the plain process, MB": others["plain"].ask(fit_case.peak_megabytes).result(),
    }
    if "peer" in others:
        result |= beside_peer(rates, others["peer"])
    for side in (*ours, *others.values()):
        side.pool.shutdown()
    return result


def time_rounds(
    options: argparse.Namespace, config: FitConfig, ours: list[Side], others: dict[str, Side]
) -> tuple[dict[str, list[float]], list[float]]:
    """Steps per second of each method in each round, one after the other, and the rate of matrix products."""
    mine = max(f.result() for f in [s.ask(fit_case.timed, 2) for s in ours])
    theirs = {kind: side.ask(fit_case.timed, 2).result() for kind, side in others.items()}
    steps = max(2, round(options.seconds / (mine / 2)))
    rates: dict[str, list[float]] = {"ours": [], **{kind: [] for kind in others}}
    floors = []
    for _ in range(options.rounds):
        took = [f.result() for f in [side.ask(fit_case.timed, steps) for side in ours]]
        rates["ours"].append(len(ours) * steps / max(took))
        for kind, side in others.items():
            count = max(2, round(options.seconds / (theirs[kind] / 2)))
            rates[kind].append(count / side.ask(fit_case.timed, count).result())
        floors.append(product_rate(options.device))
        line = ", ".join(f"{kind} {each[-1]:.3f}" for kind, each in rates.items())
        print(f"{config.model}: steps/s {line}", file=sys.stderr)
    return rates, floors


def summary(
    work: dict[str, Any], rates: dict[str, list[float]], floors: list[float], jobs: int, evaluation: float
) -> dict[str, Any]:
    """Ratios and shares; `evaluation`: seconds of one evaluation step."""
    rate, plain_rate = statistics.median(rates["ours"]), statistics.median(rates["plain"])
    gain = statistics.median(o / p for o, p in zip(rates["ours"], rates["plain"], strict=True))
    padding = work["padded"] / work["true"]
    evaluations = 5 * EVALUATIONS * evaluation / jobs
    protocol = work["steps"] / rate + evaluations
    return {
        "processes of ours": jobs,
        "steps per second, ours": round(rate, 3),
        "steps per second, plain": round(plain_rate, 4),
        "ours, times plain": round(gain, 2),
        "padding alone would give": round(padding, 2),
        "share of what padding would give": round(gain / padding, 3),
        "GFLOP of a step, true lengths": round(work["true"], 2),
        "floor, steps per second": round(max(floors) / work["true"], 2),
        "share of the floor": round(rate * work["true"] / max(floors), 3),
        "product rate, GFLOP/s": round(max(floors), 1),
        "steps of five folds": work["steps"],
        "five folds, minutes": round(protocol / 60, 2),
        "five folds, plain, minutes": round(work["steps"] / plain_rate / 60, 1),
        "evaluation steps, share of a run": round(evaluations / protocol, 4),
    }


def beside_peer(rates: dict[str, list[float]], peer: Side) -> dict[str, Any]:
    """The same against another project's trainer; LSTMs are not counted as operations."""
    gain = statistics.median(o / p for o, p in zip(rates["ours"], rates["peer"], strict=True))
    found: dict[str, Any] = {
        "steps per second, peer": round(statistics.median(rates["peer"]), 4),
        "ours, times the peer": round(gain, 2),
        "peak of the peer's process, MB": peer.ask(fit_case.peak_megabytes).result(),
    }
    network = peer.ask(fit_case.peer_network).result()
    return found | ({"the peer's network, times ours": round(network, 2)} if network else {})


def compare(options: argparse.Namespace, config: FitConfig) -> dict[str, Any]:
    """The losses of both methods over the same batches, from the same weights."""
    found = {}
    for kind in ("ours", "plain"):
        side = Side(config, usable_cores(), kind)
        found[kind] = side.ask(fit_case.losses, options.losses, kind).result()
        side.pool.shutdown()
    pairs = list(zip(*found.values(), strict=True))
    return {
        "steps": options.losses,
        "mean loss": {kind: round(statistics.mean(each), 6) for kind, each in found.items()},
        "largest difference of a step": max(abs(a - b) for a, b in pairs),
        "of the first ten": max(abs(a - b) for a, b in pairs[:10]),
        "largest loss": max(a for a, _ in pairs),
    }


def product_rate(device: str) -> float:
    """GFLOP/s of a matrix product in fp32."""
    a = torch.randn(2048, 2048, device=device)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        product = a @ a
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
        del product
    return 2 * 2048**3 / min(times) / 1e9


def machine(device: str) -> str:
    gpu = f", {torch.cuda.get_device_name(device)}" if device.startswith("cuda") else ""
    return f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}{gpu}"


if __name__ == "__main__":
    main()
