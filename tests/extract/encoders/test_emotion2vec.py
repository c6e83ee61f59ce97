"""emotion2vec: every layer by the definition, the published layouts, and what the weights have seen."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from extract_samples import OWN, corpus, extract
from file_transformer_samples import EMOTION2VEC, build, random_weights, save_emotion2vec
from patch_samples import relative, speech

from emofuse.extract.encoders.networks.emotion2vec_network import Emotion2vecNetwork, alibi_slopes
from emofuse.store import FeatureStore

__all__ = ["corpus"]
AUDIO = "modality_encoders.AUDIO."


def by_definition(waveform: np.ndarray) -> list[np.ndarray]:
    """All layers by torch's own modules, with the matrix of ALiBi written out."""
    import torch
    from torch import nn
    from torch.nn.functional import gelu, layer_norm, linear

    w = random_weights(EMOTION2VEC)

    def affine(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        return w[f"{name}.weight"], w[f"{name}.bias"]

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return layer_norm(x, x.shape[-1:], *affine(name))

    x = layer_norm(torch.from_numpy(waveform), (len(waveform),))[None]
    for n, stride in enumerate((5, 2, 2, 2, 2, 2, 2)):
        x = torch.conv1d(x, w[f"{AUDIO}local_encoder.conv_layers.{n}.0.weight"], stride=stride)
        x = gelu(norm(x.T, f"{AUDIO}local_encoder.conv_layers.{n}.2.1").T)
    x = linear(norm(x.T, f"{AUDIO}project_features.1"), *affine(f"{AUDIO}project_features.2"))
    y = x
    for n in (1, 2):
        y = torch.conv1d(y.T, *affine(f"{AUDIO}relative_positional_encoder.{n}.0"), padding=2, groups=2).T
        y = gelu(layer_norm(y, (32,)))
    x = norm(torch.cat([w[f"{AUDIO}extra_tokens"][0], x + y]), f"{AUDIO}context_encoder.norm")
    bias = torch.zeros(4, len(x), len(x))
    for head, slope in enumerate((1 / 4, 1 / 16, 1 / 64, 1 / 256)):
        for i in range(3, len(x)):
            for j in range(3, len(x)):
                bias[head, i, j] = -abs(i - j) * slope * w[f"{AUDIO}alibi_scale"][0, 0, head, 0, 0]
    layers = [x]
    for name in (*(f"{AUDIO}context_encoder.blocks.{n}." for n in (0, 1)), "blocks.0."):
        attention = nn.MultiheadAttention(32, 4)
        attention.load_state_dict(
            dict(zip(("in_proj_weight", "in_proj_bias"), affine(f"{name}attn.qkv"), strict=True))
            | dict(zip(("out_proj.weight", "out_proj.bias"), affine(f"{name}attn.proj"), strict=True))
        )
        x = norm(x + attention(x, x, x, attn_mask=bias)[0], f"{name}norm1")
        inner = gelu(linear(x, *affine(f"{name}mlp.fc1")))
        x = norm(x + linear(inner, *affine(f"{name}mlp.fc2")), f"{name}norm2")
        layers.append(x)
    return [layer[3:].detach().numpy() for layer in layers]


def test_every_layer_is_the_definitions(tmp_path: Path) -> None:
    clip = speech(9000)
    found = build(save_emotion2vec(tmp_path / "w.pt"), "emotion2vec", layers="all").encode([clip])[0]
    expected = by_definition(clip)
    assert found.shape[1] == len(expected) == 4
    for number, layer in enumerate(expected):
        assert relative(found[:, number], layer) < 1e-5, number


def test_alibis_slopes_are_the_papers() -> None:
    assert alibi_slopes(8) == [2.0**-n for n in range(1, 9)]
    twelve = [*(2.0**-n for n in range(1, 9)), *(2 ** -(n + 0.5) for n in range(4))]
    assert alibi_slopes(12) == pytest.approx(twelve)
    assert math.isclose(alibi_slopes(16)[0], 2**-0.5)


def test_the_shapes_are_those_of_the_published_checkpoints() -> None:
    base = Emotion2vecNetwork().shapes()
    large = Emotion2vecNetwork(dimension=1024, heads=16, inner=4096, scales=(1, 16)).shapes()
    # emotion2vec_plus_large holds 185 tensors; two of them are its classification head.
    assert len(base) == len(large) == 183
    assert large[f"{AUDIO}alibi_scale"] == (1, 1, 16, 1, 1)
    assert large[f"{AUDIO}relative_positional_encoder.5.0.weight"] == (1024, 64, 19)
    assert large["blocks.7.attn.qkv.weight"] == (3072, 1024)
    assert base[f"{AUDIO}local_encoder.conv_layers.0.0.weight"] == (512, 1, 10)
    assert base[f"{AUDIO}extra_tokens"] == (1, 10, 768)


@pytest.mark.parametrize(
    ("prefix", "head"), [("", ""), ("d2v_model.", "proj"), ("w2v_encoder.w2v_model.", "w2v_encoder.proj"), ("", "proj")]
)
def test_all_layouts_give_the_same_features_and_a_head_has_seen_labels(prefix: str, head: str, tmp_path: Path) -> None:
    plain = build(save_emotion2vec(tmp_path / "plain.pt"), "emotion2vec").encode([speech(5000)])[0]
    encoder = build(save_emotion2vec(tmp_path / "w.pt", prefix=prefix, head=head), "emotion2vec")
    np.testing.assert_array_equal(encoder.encode([speech(5000)])[0], plain)
    seen = encoder.provenance()["fitted_on"]
    if head:
        assert [(e["corpus"], e["labels"]) for e in seen] == [("unknown", True)]
    else:
        assert {"corpus": "iemocap", "labels": False} in seen
        assert not any(entry["labels"] for entry in seen)


def test_scales_per_layer_and_one_for_all_heads_are_read(tmp_path: Path) -> None:
    from dataclasses import replace

    network = replace(EMOTION2VEC, dimension=128, positional=(2, 4, 2), heads=2, scales=(3, 1))
    encoder = build(save_emotion2vec(tmp_path / "w.pt", network=network), "emotion2vec")
    assert encoder.network == network
    assert encoder.encode([speech(5000)])[0].shape == (15, 128)


def test_extract_stores_it_and_says_what_it_has_seen(corpus: Path) -> None:
    save_emotion2vec(corpus / "w.pt")
    refused = extract(corpus, *OWN, "--encoder", "emotion2vec")
    assert refused.returncode == 2
    assert "error: encoder emotion2vec has no default weights: download" in refused.stderr
    done = extract(corpus, *OWN, "--encoder", "emotion2vec", "--weights", "w.pt", "--layers", "all", "--quiet")
    assert done.returncode == 0, done.stderr
    with FeatureStore(corpus / "own.h5") as store:
        feature = store.feature("emotion2vec")
        assert feature.layers == (0, 1, 2, 3)
        assert feature.frame_rate == 50.0
        assert {"corpus": "meld", "labels": False} in feature.provenance["fitted_on"]
