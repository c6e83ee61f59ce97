"""Extraction beside the usual ways, interleaved in one run, as ratios; with the floors of computing and of the disk.

    python benchmarks/extract.py --root corpora/iemocap --encoder hubert [--utterances 48] [--out results.json]
    python benchmarks/extract.py --root corpora/iemocap --memory            # peak memory, 500 and all utterances
    python benchmarks/extract.py --root corpora/iemocap --device cuda --precision bf16 --utterances 5531

`hubert` and `bert` are of the published sizes with random weights, which cost what the published ones do (--weights
takes real ones); `logmel` has none. All ways keep the model in memory beforehand. Every way decodes the same clips and
writes what it usually writes. The rivals need `pip install "emofuse[extract,exchange]"`.
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
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from extract_rivals import FLOOR, WAYS, Case, floor

from emofuse.extract.allocator import USUAL, keep_memory
from emofuse.extract.batching import padding_share
from emofuse.extract.budget import settle
from emofuse.extract.encoders.base import EncoderOptions
from emofuse.extract.job import Job, Recipe
from emofuse.extract.options import read, survey
from emofuse.extract.planning import plan
from emofuse.extract.request import build

PACKAGES = ("emofuse", "torch", "transformers", "torchaudio", "lhotse", "numpy")
NO_OPTIONS = {"transcripts": None, "meld_clips": None, "manifest_file": None}


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
    parser.add_argument("--ways", default="abcdef", help="letters of the ways to run")
    parser.add_argument("--memory", action="store_true", help="peak memory of the command on 500 and on all utterances")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        found = memory(options, Path(folder)) if options.memory else measure(options, Path(folder))
    print(json.dumps(found, indent=2))
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    case = make_case(options, folder)
    one = plan([case.job])
    ways: dict[str, Callable[[], object]] = {}
    written: dict[str, int] = {}
    for name, way in WAYS.items():
        if name[1] in options.ways and not (name[1] == "d" and case.job.encoder.modality == "text"):
            ways[name] = fresh_folder(way, case, folder / name[1], written, name)
    if "e" in options.ways:
        ways[FLOOR] = floor(case)
    for name, way in ways.items():  # once, unmeasured: what is made and compiled at the first call
        if name[1] in "ade":
            way()
    rounds = interleaved(ways, options.rounds)
    seconds = {name: statistics.median(each) for name, each in rounds.items()}
    hours, padding = case.job.manifest.hours, padding_share(one.sizes, one.batches)
    result: dict[str, Any] = {
        "machine": machine(options.device),
        "versions": {p: found for p in PACKAGES if (found := installed(p))},
        "case": {
            "encoder": options.encoder,
            "weights": options.weights or "random, of the published size",
            "precision": options.precision,
            "compiled": options.compile,
            "device": options.device,
            "utterances": len(one.lengths),
            "hours": round(hours, 3),
            "batches": len(one.batches),
            "padding": round(padding, 4),
            "budget": case.job.budget,
            "threads": torch.get_num_threads(),
            "rounds": options.rounds,
        },
        "seconds": {n: round(s, 3) for n, s in seconds.items()},
        "bytes written": written,
    }
    if case.job.encoder.modality == "audio":
        result["times real time"] = {n: round(hours * 3600 / s, 1) for n, s in seconds.items()}
    for base in (FLOOR, "(b) batch 1, fp32, .npy each"):
        if base in seconds:
            result[f"speed, times {base}"] = ratios(rounds, base)
    if case.raw is not None and "e" in options.ways:
        result["floor"] = flops_floor(case, min(rounds[FLOOR]))
    return result


def make_case(options: argparse.Namespace, folder: Path) -> Case:
    manifest, root = read(options.dataset, options.root, None, **NO_OPTIONS)
    weights = options.weights
    if options.encoder != "logmel" and weights is None:
        weights = str(random_weights(options.encoder, folder, [u.text or "" for u in manifest.utterances]))
    plain = EncoderOptions(corpus=options.dataset, device=options.device)
    chosen = (
        plain
        if options.encoder == "logmel"
        else replace(plain, weights=weights, precision=options.precision, compile=options.compile)
    )
    recipe = Recipe(encoder=options.encoder, options=chosen)
    encoder, _ = build(recipe)
    manifest, clips, _ = survey(manifest, root, {encoder.modality}, True)
    job = Job(
        store=folder / "none.h5",
        manifest=manifest,
        root=root,
        clips=clips,
        encoder=encoder,
        recipe=recipe,
        feature=options.encoder,
        dtype="float16",
        device=options.device,
        provenance={},
    )
    raw = None
    if options.encoder != "logmel":
        raw = build(replace(recipe, options=replace(chosen, precision="fp32", compile=False)))[0].base.model  # type: ignore[attr-defined]
        if options.encoder == "hubert":
            unmask(raw)
    return Case(job=some_of(settle([job], options.budget)[0], options.utterances), raw=raw)


def some_of(job: Job, utterances: int) -> Job:
    """The job on whole batches of the corpus's plan, spread evenly: a sample with the padding that the whole has."""
    batches = plan([job]).batches
    count = max(1, round(len(batches) * utterances / len(plan([job]).lengths)))
    chosen = {id for k in range(count) for id in batches[(2 * k + 1) * len(batches) // (2 * count)]}
    kept = tuple(u for u in job.manifest.utterances if u.id in chosen)
    return replace(
        job,
        manifest=replace(job.manifest, utterances=kept),
        clips={u.id: job.clips[u.id] for u in kept if u.id in job.clips},
    )


def unmask(model: Any) -> None:
    """Give a HuBERT its own group norm back."""
    first = model.feature_extractor.conv_layers[0]
    masked = first.layer_norm
    norm = torch.nn.GroupNorm(len(masked.weight), len(masked.weight), eps=masked.eps)
    norm.weight, norm.bias = masked.weight, masked.bias
    first.layer_norm = norm


def random_weights(encoder: str, folder: Path, texts: list[str]) -> Path:
    """A checkpoint of the published size, drawn at random; BERT with a vocabulary of the corpus's own words."""
    from emofuse.extract.torchaudio_compat import import_transformers

    transformers = import_transformers()
    torch.manual_seed(0)
    target = folder / encoder
    if encoder == "hubert":
        transformers.HubertModel(transformers.HubertConfig()).save_pretrained(target)
        transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(target)
        return target
    transformers.BertModel(transformers.BertConfig()).save_pretrained(target)
    words = sorted({w for text in texts for w in text.lower().split()})
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *words,
        *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"),
    ]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(target)
    return target


def fresh_folder(
    way: Callable[[Case, Path], None], case: Case, folder: Path, written: dict[str, int], name: str
) -> Callable[[], None]:
    count = 0

    def go() -> None:
        nonlocal count
        count += 1
        own = folder / str(count)
        own.mkdir(parents=True)
        if name[1] != "a":
            keep_memory(*USUAL)  # what ours sets is the process's, and would help the others too
        way(case, own)
        written[name] = sum(p.stat().st_size for p in own.rglob("*") if p.is_file())
        for path in own.rglob("*"):
            if path.is_file():
                path.unlink()

    return go


def interleaved(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, one after the other in every round, each round beginning with another one."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    order = [*ways.items()]
    for turn in range(rounds):
        first = turn % len(order)
        for name, way in order[first:] + order[:first]:
            if name == FLOOR:
                keep_memory()
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
            print(f"{name}: {seconds[name][-1]:.2f} s", file=sys.stderr, flush=True)
    return seconds


def ratios(seconds: dict[str, list[float]], base: str) -> dict[str, float]:
    """How many times as fast as `base`: the median over the rounds, in which both met the same machine."""
    pairs = {name: zip(seconds[base], own, strict=True) for name, own in seconds.items()}
    return {name: round(statistics.median(b / o for b, o in each), 3) for name, each in pairs.items()}


def flops_floor(case: Case, seconds: float) -> dict[str, float]:
    """FLOPs of the forward passes, and what share of the device's measured matrix-product rate they reach."""
    from torch.utils.flop_counter import FlopCounterMode

    forward = floor(case)
    with FlopCounterMode(display=False) as counter:
        forward()
    kind = case.job.encoder.base.model.dtype  # type: ignore[attr-defined]
    rate = matrix_rate(case.job.device, kind)
    work = counter.get_total_flops()
    return {
        "TFLOP": round(work / 1e12, 3),
        "matrix products, TFLOP/s": round(rate / 1e12, 3),
        "seconds at that rate": round(work / rate, 2),
        "share of that rate in (e), its best round": round(work / rate / seconds, 3),
    }


def matrix_rate(device: str, kind: torch.dtype) -> float:
    """FLOP/s of a large matrix product, the best of several."""
    best = 0.0
    for size in (1024, 2048, 4096, *([8192, 16384] if device.startswith("cuda") else [])):
        a, b, product = (torch.randn(size, size, device=device, dtype=kind) for _ in range(3))
        for _ in range(10):
            started = time.perf_counter()
            torch.mm(a, b, out=product)
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            best = max(best, 2 * size**3 / (time.perf_counter() - started))
    return best


def memory(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Peak resident memory of `extract` as a user runs it, on 500 utterances and on all."""
    weights = [] if options.encoder == "logmel" else ["--weights", options.weights or small_weights(folder)]
    peaks = {}
    for limit in (500, None):
        command = [sys.executable, "-c", "from emofuse.extract.cli import main; main()"]
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
    """HuBERT's own front end, which decides the memory, and two narrow layers, so that a whole corpus takes minutes."""
    from emofuse.extract.torchaudio_compat import import_transformers

    transformers = import_transformers()
    torch.manual_seed(0)
    narrow = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.HubertConfig(**narrow, conv_dim=[128] * 7, num_conv_pos_embedding_groups=4)
    transformers.HubertModel(config).save_pretrained(folder / "small")
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder / "small")
    return str(folder / "small")


def machine(device: str) -> str:
    gpu = f", {torch.cuda.get_device_name(device)}" if device.startswith("cuda") else ""
    return f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}{gpu}"


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
