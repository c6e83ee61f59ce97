"""BEATs: every layer by the definition, the published layout, and settings of another kind of network."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_transformer_samples import BEATS, build, random_weights, save_beats
from patch_samples import relative, speech

from emofuse.common.errors import UsageError
from emofuse.extract.audio.torchaudio_compat import import_torchaudio
from emofuse.extract.encoders.networks import beats_network
from emofuse.extract.encoders.networks.beats_network import BeatsNetwork


def bucket(distance: int) -> int:
    """Of 16 buckets up to a distance of 800: 4 exact ones and 4 logarithmic ones to either side."""
    half = 8 if distance > 0 else 0
    size = abs(distance)
    return half + (size if size < 4 else min(7, 4 + int(math.log(size / 4) / math.log(800 / 4) * 4)))


def by_definition(waveform: np.ndarray) -> list[np.ndarray]:
    import_torchaudio()
    import torch
    from torch.nn.functional import gelu, layer_norm, linear
    from torchaudio.compliance import kaldi

    w = random_weights(BEATS)

    def affine(x: torch.Tensor, name: str, function: Any = linear) -> torch.Tensor:
        size = [x.shape[-1:]] if function is layer_norm else []
        result: torch.Tensor = function(x, *size, w[f"{name}.weight"], w[f"{name}.bias"])
        return result

    banks = kaldi.fbank(torch.from_numpy(waveform)[None] * 2**15, num_mel_bins=128, sample_frequency=16000.0)
    banks = (banks - 15.41663) / (2 * 6.55582)
    patches = [banks[t : t + 16, f : f + 16] for t in range(0, len(banks) - 15, 16) for f in range(0, 128, 16)]
    x = torch.stack([(w["patch_embedding.weight"][:, 0] * patch).sum((1, 2)) for patch in patches])
    x = affine(affine(x, "layer_norm", layer_norm), "post_extract_proj")
    kernel, bias = w["encoder.pos_conv.0.weight"], w["encoder.pos_conv.0.bias"]
    x = x + gelu(torch.conv1d(x.T, kernel, bias, padding=4, groups=2)[:, : len(x)].T)
    x = affine(x, "encoder.layer_norm", layer_norm)
    table = w["encoder.layers.0.self_attn.relative_attention_bias.weight"]
    biases = torch.stack([torch.stack([table[bucket(j - i)] for j in range(len(x))]) for i in range(len(x))])
    layers, alpha = [x], 6 ** (1 / 4)
    for n in range(3):
        name = f"encoder.layers.{n}."
        heads = []
        query, key, value = (affine(x, f"{name}self_attn.{p}_proj") for p in "qkv")
        for head in range(4):
            q, k, v = (part[:, 8 * head : 8 * head + 8] for part in (query, key, value))
            gates = affine(q, f"{name}self_attn.grep_linear")
            first, second = gates[:, :4].sum(1).sigmoid(), gates[:, 4:].sum(1).sigmoid()
            gate = first * (second * w[f"{name}self_attn.grep_a"][0, head, 0, 0] - 1) + 2
            scores = q @ k.T / math.sqrt(8) + gate[:, None] * biases[:, :, head]
            heads.append(scores.softmax(1) @ v)
        x = affine(
            alpha * x + affine(torch.cat(heads, 1), f"{name}self_attn.out_proj"),
            f"{name}self_attn_layer_norm",
            layer_norm,
        )
        inner = affine(gelu(affine(x, f"{name}fc1")), f"{name}fc2")
        x = affine(alpha * x + inner, f"{name}final_layer_norm", layer_norm)
        layers.append(x)
    return [layer.reshape(-1, 8, 32).mean(1).numpy() for layer in layers]


def test_every_layer_is_the_definitions(tmp_path: Path) -> None:
    clip = speech(12000)
    found = build(save_beats(tmp_path / "w.pt"), "beats", layers="all").encode([clip])[0]
    expected = by_definition(clip)
    assert found.shape == (4, 4, 32)
    for number, layer in enumerate(expected):
        assert relative(found[:, number], layer) < 2e-5, number


def test_the_shapes_are_those_of_the_published_checkpoints() -> None:
    shapes = BeatsNetwork().shapes()
    assert shapes["patch_embedding.weight"] == (512, 1, 16, 16)
    assert shapes["encoder.pos_conv.0.weight"] == (768, 48, 128)
    assert shapes["encoder.layers.0.self_attn.relative_attention_bias.weight"] == (320, 12)
    assert shapes["encoder.layers.11.self_attn.grep_linear.weight"] == (8, 64)
    assert round(sum(math.prod(shape) for shape in shapes.values()) / 1e6) == 90  # the paper: 90 million


@pytest.mark.parametrize(("setting", "value"), [("deep_norm", False), ("max_distance", 1280), ("activation_fn", "glu")])
def test_settings_that_shapes_do_not_show_are_checked(setting: str, value: Any, tmp_path: Path) -> None:
    path = save_beats(tmp_path / "w.pt", settings={setting: value})
    expected = beats_network.SETTINGS[setting]
    with pytest.raises(UsageError, match=rf"encoder beats expects {setting}={expected}, found {value}; download"):
        build(path, "beats")


def test_all_spellings_of_weight_norm_give_the_same_features(tmp_path: Path) -> None:
    import torch

    published = build(save_beats(tmp_path / "w.pt"), "beats").encode([speech(9000)])[0]
    model = torch.load(tmp_path / "w.pt", weights_only=True)["model"]
    newer = {name.replace("weight_g", "parametrizations.weight.original0"): t for name, t in model.items()}
    newer = {name.replace("weight_v", "parametrizations.weight.original1"): t for name, t in newer.items()}
    for variant in (newer, random_weights(BEATS)):
        torch.save({"model": variant}, tmp_path / "v.pt")
        assert relative(build(tmp_path / "v.pt", "beats").encode([speech(9000)])[0], published) < 1e-6


def test_no_emotion_labels_were_seen(tmp_path: Path) -> None:
    provenance = build(save_beats(tmp_path / "w.pt"), "beats").provenance()
    assert provenance["fitted_on"] == []
    assert provenance["pretrained_on"].startswith("AudioSet")
