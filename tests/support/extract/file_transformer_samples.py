"""Checkpoints of RANDOM weights for emotion2vec and BEATs, tiny, in the layouts of the published ones."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from emofuse.extract.encoders import beats, emotion2vec
from emofuse.extract.encoders.networks.beats_network import SETTINGS, BeatsNetwork
from emofuse.extract.encoders.networks.emotion2vec_network import Emotion2vecNetwork
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions

MODULES = {"emotion2vec": emotion2vec, "beats": beats}
EMOTION2VEC = Emotion2vecNetwork(
    dimension=32, channels=16, heads=4, inner=48, prenet=2, main=1, tokens=3, positional=(2, 5, 2), scales=(1, 4)
)
BEATS = BeatsNetwork(dimension=32, embedding=16, heads=4, inner=48, depth=3, positional=(8, 2), buckets=16)
NETWORKS: dict[str, Any] = {"emotion2vec": EMOTION2VEC, "beats": BEATS}
"""Networks of three layers."""


def random_weights(network: Any, seed: int = 0) -> dict[str, Any]:
    """By the published names; norms near 1, everything else small."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in network.shapes().items():
        values = torch.randn(shape, generator=generator)
        fan_in = int(np.prod(shape[1:]))
        if name.endswith("alibi_scale"):
            values = values.abs()
        elif "extra_tokens" not in name and "relative_attention_bias" not in name:
            values = 1 + 0.2 * values if len(shape) == 1 and name.endswith("weight") else values / np.sqrt(fan_in + 1)
        weights[name] = values
    return weights


def save_emotion2vec(
    path: Path, *, prefix: str = "", head: str = "", network: Any = EMOTION2VEC, seed: int = 0
) -> Path:
    """As fairseq writes it, with options in a namespace and a metric of numpy; `head` is the name of a classifier."""
    import torch

    model = {f"{prefix}{name}": values for name, values in random_weights(network, seed).items()}
    model |= {f"{head}.weight": torch.zeros(9, network.dimension), f"{head}.bias": torch.zeros(9)} if head else {}
    model["_ema"] = {f"blocks.{n}.norm1.weight": torch.zeros(1) for n in range(9)}  # the teacher of the pre-training
    extra = {"args": argparse.Namespace(arch="data2vec_multi"), "extra_state": {"val_loss": np.float64(1.5)}}
    torch.save({**extra, "cfg": {"task": {"normalize": True}}, "model": model}, path)
    return path


def save_beats(path: Path, *, settings: dict[str, Any] | None = None, network: Any = BEATS, seed: int = 0) -> Path:
    """As Microsoft published it: settings beside the weights, and the positional kernel under weight norm."""
    import torch

    model = random_weights(network, seed)
    kernel = model.pop("encoder.pos_conv.0.weight")
    model["encoder.pos_conv.0.weight_g"] = kernel.norm(dim=(0, 1), keepdim=True)
    model["encoder.pos_conv.0.weight_v"] = 3 * kernel
    torch.save({"cfg": {**SETTINGS, **(settings or {})}, "model": model}, path)
    return path


def save(folder: Path, encoder: str, seed: int = 0) -> Path:
    writer = save_emotion2vec if encoder == "emotion2vec" else save_beats
    return writer(folder / f"random-{encoder}.pt", seed=seed)


def build(path: Path, encoder: str, **options: Any) -> Any:
    return ENCODERS[encoder].build(EncoderOptions(weights=str(path), **options))
