"""What `benchmarks/extract.py` extracts, and the processes in which the methods are run and timed."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from extract_rivals import FLOOR, METHODS, Case, floor

from emofuse.extract.audio.scan import read_dataset, scan_corpus
from emofuse.extract.encoders.base import EncoderOptions
from emofuse.extract.plan.batching import padding_share
from emofuse.extract.plan.budget import with_budgets
from emofuse.extract.plan.job import EncoderRecipe, FeatureJob
from emofuse.extract.plan.passes import plan_pass
from emofuse.extract.plan.view_encoders import build_encoders

_HERE: dict[str, Any] = {}
"""State of a process: its case, its folder, and its prepared floor."""


class Side:
    """A process with its own environment, which holds the case."""

    def __init__(self, options: argparse.Namespace, folder: Path, environment: Mapping[str, str]) -> None:
        own = folder / str(id(self))
        own.mkdir()
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, context, initializer=_begin, initargs=(options, own))
        before = dict(os.environ)
        os.environ.update(environment)
        self._pool.submit(int).result()
        os.environ.clear()
        os.environ.update(before)

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of this module in that process."""
        return self._pool.submit(function, *arguments).result()

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown()


def _begin(options: argparse.Namespace, folder: Path) -> None:
    _HERE.update(case=make_case(options, folder), folder=folder, options=options, calls=0)


def describe() -> dict[str, Any]:
    case, options = _HERE["case"], _HERE["options"]
    one = plan_pass([case.job])
    return {
        "encoder": options.encoder,
        "weights": options.weights or "random, of the published size",
        "precision": options.precision,
        "compiled": options.compile,
        "device": options.device,
        "utterances": len(one.lengths),
        "hours": round(case.job.manifest.hours, 4),
        "batches": len(one.batches),
        "padding": round(padding_share(one.sizes, one.batches), 4),
        "budget": case.job.budget,
        "threads": torch.get_num_threads(),
    }


def timed(name: str) -> tuple[float, int]:
    """Seconds that a method takes in this process, and the bytes that it writes."""
    case = _HERE["case"]
    if name == FLOOR:
        if "floor" not in _HERE:
            _HERE["floor"] = floor(case)
        forward = _HERE["floor"]
        started = time.perf_counter()
        forward()
        return time.perf_counter() - started, 0
    _HERE["calls"] += 1
    own = _HERE["folder"] / str(_HERE["calls"])
    own.mkdir()
    started = time.perf_counter()
    METHODS[name](case, own)
    seconds = time.perf_counter() - started
    files = [p for p in own.rglob("*") if p.is_file()]
    written = sum(p.stat().st_size for p in files)
    for path in files:
        path.unlink()
    return seconds, written


def make_case(options: argparse.Namespace, folder: Path) -> Case:
    manifest, root = read_dataset(options.dataset, options.root)
    weights = options.weights
    if options.encoder != "logmel" and weights is None:
        weights = str(random_weights(options.encoder, folder, [u.text or "" for u in manifest.utterances]))
    plain = EncoderOptions(corpus=options.dataset, device=options.device)
    chosen = (
        plain
        if options.encoder == "logmel"
        else replace(plain, weights=weights, precision=options.precision, compile=options.compile)
    )
    recipe = EncoderRecipe(encoder=options.encoder, options=chosen)
    encoder = build_encoders(recipe).built
    manifest, clips, _ = scan_corpus(manifest, root, {encoder.modality}, True)
    job = FeatureJob(
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
        exact = replace(recipe, options=replace(chosen, precision="fp32", compile=False))
        raw = build_encoders(exact).built.pretrained.model  # type: ignore[attr-defined]
        if options.encoder == "hubert":
            unmask(raw)
    return Case(job=some_of(with_budgets([job], options.budget)[0], options.utterances), raw=raw)


def some_of(job: FeatureJob, utterances: int) -> FeatureJob:
    """The job on evenly spread whole batches of the corpus's plan: a sample with the same padding as the whole."""
    batches = plan_pass([job]).batches
    count = max(1, round(len(batches) * utterances / len(plan_pass([job]).lengths)))
    chosen = {id for k in range(count) for id in batches[(2 * k + 1) * len(batches) // (2 * count)]}
    kept = tuple(u for u in job.manifest.utterances if u.id in chosen)
    return replace(
        job,
        manifest=replace(job.manifest, utterances=kept),
        clips={u.id: job.clips[u.id] for u in kept if u.id in job.clips},
    )


def unmask(model: Any) -> None:
    """Restore the original group norm of a HuBERT."""
    first = model.feature_extractor.conv_layers[0]
    masked = first.layer_norm
    norm = torch.nn.GroupNorm(len(masked.weight), len(masked.weight), eps=masked.eps)
    norm.weight, norm.bias = masked.weight, masked.bias
    first.layer_norm = norm


def random_weights(encoder: str, folder: Path, texts: list[str]) -> Path:
    """A checkpoint of the published size, with random weights; BERT with a vocabulary of the corpus's words."""
    from emofuse.extract.audio.torchaudio_compat import import_transformers

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


def flops_floor(seconds: float) -> dict[str, float]:
    """FLOPs of the forward passes, and their share of the device's measured matrix-product rate."""
    from torch.utils.flop_counter import FlopCounterMode

    case = _HERE["case"]
    forward = floor(case)
    with FlopCounterMode(display=False) as counter:
        forward()
    kind = case.job.encoder.pretrained.model.dtype  # type: ignore[attr-defined]
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
