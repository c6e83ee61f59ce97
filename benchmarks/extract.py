"""Extraction beside the usual methods, interleaved in one run, as ratios; with the floors of compute and disk.

    python benchmarks/extract.py --root corpora/iemocap --encoder hubert [--utterances 48] [--out results.json]
    python benchmarks/extract.py --root corpora/iemocap --memory            # peak memory, 500 and all utterances
    python benchmarks/extract.py --root corpora/iemocap --device cuda --precision bf16 --utterances 5531

`hubert` and `bert` have the published sizes and random weights, which cost the same (--weights takes real ones);
`logmel` has none. The model is in memory before the timing starts: for ours and the floor in one process, set up as by
`extract`, for the others in another. Every method decodes the same clips and writes its usual files; the sample
consists of whole batches of the corpus's plan. The rivals need `pip install "emofuse[extract,exchange]"`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from extract_case import Side, describe, flops_floor, timed
from extract_rivals import FLOOR, METHODS

from emofuse.common.system.allocator import LARGE_PAGES

PACKAGES = ("emofuse", "torch", "transformers", "torchaudio", "lhotse", "numpy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="iemocap")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--encoder", default="hubert", choices=["hubert", "bert", "logmel"])
    parser.add_argument("--weights", help="real ones, as `extract --weights` takes them")
    parser.add_argument("--utterances", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--compile", action="store_true", help="(a) and (e) with compiled layers")
    parser.add_argument("--budget", type=float)
    parser.add_argument("--ways", dest="methods", default="abcdef", help="letters of the methods to run")
    parser.add_argument("--memory", action="store_true", help="peak memory of the command on 500 and on all utterances")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        found = memory(options, Path(folder)) if options.memory else measure(options, Path(folder))
    print(json.dumps(found, indent=2))
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    sides = {True: Side(options, folder, LARGE_PAGES), False: Side(options, folder, {})}
    case = sides[True].ask(describe)
    letters = options.methods.replace("d", "") if options.encoder == "bert" else options.methods
    names = [name for name in (*METHODS, FLOOR) if name[1] in letters]
    of = {name: sides[name[1] in "ae"] for name in names}
    written = {
        name: of[name].ask(timed, name)[1] for name in names if name[1] in "adef"
    }  # warm-up: the first call prepares the floor
    rounds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(options.rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            seconds, written[name] = of[name].ask(timed, name)
            rounds[name].append(seconds)
            print(f"{name}: {seconds:.2f} s", file=sys.stderr, flush=True)
    medians = {name: statistics.median(each) for name, each in rounds.items()}
    result: dict[str, Any] = {
        "machine": machine(options.device),
        "versions": {p: found for p in PACKAGES if (found := installed(p))},
        "case": {**case, "rounds": options.rounds},
        "seconds": {n: round(s, 3) for n, s in medians.items()},
        "bytes written": {n: b for n, b in written.items() if n != FLOOR},
    }
    if options.encoder != "bert":
        result["times real time"] = {n: round(case["hours"] * 3600 / s, 1) for n, s in medians.items()}
    for base in (FLOOR, "(b) batch 1, fp32, .npy each"):
        if base in rounds:
            result[f"speed, times {base}"] = ratios(rounds, base)
    if options.encoder != "logmel" and FLOOR in rounds:
        result["floor"] = sides[True].ask(flops_floor, min(rounds[FLOOR]))
    for side in sides.values():
        side.close()
    return result


def ratios(seconds: dict[str, list[float]], base: str) -> dict[str, float]:
    """How many times as fast as `base`: the median over the rounds, so that both ran under the same load."""
    pairs = {name: zip(seconds[base], own, strict=True) for name, own in seconds.items()}
    return {name: round(statistics.median(b / o for b, o in each), 3) for name, each in pairs.items()}


def memory(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Peak resident memory of `extract` as a user runs it, on 500 utterances and on all."""
    weights = [] if options.encoder == "logmel" else ["--weights", options.weights or small_weights(folder)]
    peaks = {}
    for limit in (500, None):
        command = [sys.executable, "-c", "from emofuse.extract.commands.extract import main; main()"]
        command += ["--dataset", options.dataset, "--root", str(options.root), "--encoder", options.encoder, *weights]
        command += ["--store", str(folder / f"{limit}.h5"), "--quiet", *(["--limit", str(limit)] if limit else [])]
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        assert after >= before
        peaks[f"{limit or 'all'} utterances, MB"] = round(after / 1024)
    first, last = peaks.values()
    return {
        "machine": machine("cpu"),
        "encoder": options.encoder,
        "weights": options.weights or "HuBERT's front end, two layers",
        **peaks,
        "ratio": round(last / first, 3),
    }


def small_weights(folder: Path) -> str:
    """HuBERT's front end, which determines the memory, and two narrow layers, so that a whole corpus takes minutes."""
    import torch

    from emofuse.extract.audio.torchaudio_compat import import_transformers

    transformers = import_transformers()
    torch.manual_seed(0)
    narrow = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.HubertConfig(**narrow, conv_dim=[128] * 7, num_conv_pos_embedding_groups=4)
    transformers.HubertModel(config).save_pretrained(folder / "small")
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder / "small")
    return str(folder / "small")


def machine(device: str) -> str:
    import torch

    gpu = f", {torch.cuda.get_device_name(device)}" if device.startswith("cuda") else ""
    return f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}{gpu}"


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
