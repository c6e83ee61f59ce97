"""TRILL's own network: its maths by torch's modules, its layers, and weights that are another's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from extract_samples import OWN, corpus, extract
from patch_samples import relative, save_random_trill, save_random_weights, speech
from pretrain_samples import save_onnx

from emofuse.common.disk import tensor_file
from emofuse.common.errors import DataError, UsageError
from emofuse.extract.encoders import yamnet
from emofuse.extract.encoders.networks import trill_network
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions
from emofuse.store import FeatureStore

__all__ = ["corpus"]

EDGES = [1, 8000, 15600, 15601, 23280, 23281, 48000]


def build(path: Path, layers: str = "last", **options: str) -> Any:
    return ENCODERS["trill"].build(EncoderOptions(weights=str(path), layers=layers, **options))


@pytest.fixture(scope="module")
def random_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_trill(tmp_path_factory.mktemp("trill") / "model.safetensors")


def test_the_network_is_the_one_of_torchs_modules(random_file: Path) -> None:
    import torch
    from torch import nn

    weights, _ = tensor_file.read(random_file)
    # Scales of 1 and shifts of 0 would hide where they are applied.
    generator = torch.Generator().manual_seed(5)
    weights = {n: t + 0.3 * torch.rand(t.shape, generator=generator) if t.ndim == 1 else t for n, t in weights.items()}

    def block(hidden: torch.Tensor, name: str, stride: int, groups: int) -> torch.Tensor:
        kernel = weights[f"{name}/kernel"]
        side = kernel.shape[2]
        conv = nn.Conv2d(len(hidden[0]), len(kernel), side, stride, (side - 1) // 2, groups=groups, bias=False)
        norm = nn.GroupNorm(len(kernel) // 16, len(kernel))
        conv.weight.data, norm.weight.data, norm.bias.data = (
            weights[f"{name}/{part}"] for part in ("kernel", "scale", "shift")
        )
        return nn.functional.relu(norm(conv(hidden)))

    patches = trill_network.FRONT_END.patches(speech(40000))
    with torch.no_grad():
        hidden, found = block(patches[:, None], "layer1/conv", 2, 1), []
        for layer, stride in enumerate(trill_network.STRIDES[1:], 2):
            hidden = block(hidden, f"layer{layer}/depthwise", stride, hidden.shape[1])
            hidden = block(hidden, f"layer{layer}/pointwise", 1, 1)
            found.append(hidden.mean((2, 3)).numpy())
    assert hidden.shape == (5, 512, 6, 4)
    for layer, expected in enumerate(found, 2):
        ours = trill_network.forward(weights, patches, (layer,))[:, 0].numpy()
        assert relative(ours, expected) < 1e-5


@pytest.mark.parametrize("dimension", trill_network.DIMENSIONS)
def test_both_dimensions_load(dimension: int, tmp_path: Path) -> None:
    encoder = build(save_random_trill(tmp_path / "model.safetensors", dimension))
    assert encoder.dimension == dimension
    assert encoder.encode([speech(20000)])[0].shape == (2, dimension)


@pytest.mark.parametrize("samples", EDGES)
def test_length_tells_what_encode_returns_whatever_the_batch(samples: int, random_file: Path) -> None:
    encoder, clip = build(random_file), speech(samples)
    alone, batched = encoder.encode([clip])[0], encoder.encode([speech(30000), clip, speech(500, 2)])[1]
    assert alone.shape == (encoder.length(samples), encoder.dimension)
    assert relative(alone, batched) <= 1e-5
    assert encoder.frame_rate == pytest.approx(1 / 0.48)


@pytest.mark.parametrize(("layers", "axis", "width"), [("last", (), 512), ("7,8", (7, 8), 512), ("3", (), 128)])
def test_layers_are_numbered_from_1(layers: str, axis: tuple[int, ...], width: int, random_file: Path) -> None:
    encoder = build(random_file, layers)
    assert (encoder.layers, encoder.dimension) == (axis, width)
    assert encoder.encode([speech(900)])[0].shape == (1, *([len(axis)] if axis else []), width)


def test_names_of_one_layer_are_one_feature(random_file: Path) -> None:
    assert (
        build(random_file).identity()
        == build(random_file, "9").identity()
        == build(random_file, "embedding").identity()
    )
    with pytest.raises(UsageError, match="expected last, embedding or numbers from 1 to 9"):
        build(random_file, "10")


@pytest.mark.parametrize(("precision", "near"), [("bf16", 0.15), ("fp16", 0.02)])
def test_half_precision_is_near_fp32(precision: str, near: float, random_file: Path) -> None:
    fine, coarse = build(random_file), build(random_file, precision=precision)
    assert 1e-5 < relative(coarse.encode([speech(20000)])[0], fine.encode([speech(20000)])[0]) < near
    assert fine.identity() != coarse.identity()


def test_its_provenance_is_what_the_checkpoint_says(random_file: Path) -> None:
    provenance = build(random_file).provenance()
    assert (provenance["pretrained_on"], provenance["fitted_on"]) == ("nothing: random weights", [])


def test_without_weights_both_options_are_reported(tmp_path: Path) -> None:
    for given, message in (
        (None, "encoder trill has no default weights: convert a published TRILL, FRILL or TRILLsson model to ONNX"),
        (str(tmp_path), "holds none of .onnx, .safetensors; pass one file as --weights; convert"),
        (str(tmp_path / "gone"), "expected a file or folder that exists; convert"),
    ):
        with pytest.raises(UsageError, match=rf"{message}.* `emofuse pretrain trill --audio FOLDER`"):
            ENCODERS["trill"].build(EncoderOptions(weights=given))
    save_random_trill(tmp_path / "model.safetensors")
    save_onnx(tmp_path / "m.onnx")
    with pytest.raises(UsageError, match=r"holds m.onnx, model.safetensors of"):
        build(tmp_path)


def test_another_networks_weights_are_recognised(tmp_path: Path) -> None:
    import torch

    shapes = yamnet.shapes()
    tensor_file.write(tmp_path / "y.safetensors", {n: torch.zeros(s) for n, s in shapes.items()}, {})
    with pytest.raises(
        UsageError, match=r"layer1/conv/scale of shape 32, which is missing from the file; these look .* yamnet"
    ):
        build(tmp_path / "y.safetensors")
    save_random_weights(tmp_path, "vggish")
    with pytest.raises(UsageError, match=r"not torch; these look like weights of vggish; convert"):
        build(tmp_path / "random-vggish.pth")
    with pytest.raises(
        UsageError, match=r"encoder yamnet expects dense/kernel .* missing from the file; these look like .* trill"
    ):
        ENCODERS["yamnet"].build(EncoderOptions(weights=str(save_random_trill(tmp_path / "t.safetensors"))))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("layer4/depthwise/kernel", (64, 1, 3, 3), "layer4/depthwise/kernel of shape 128 x 1 x 3 x 3, found 64 x"),
        ("layer9/pointwise/kernel", (100, 512, 1, 1), "of shape 512 x 512 x 1 x 1, found 100 x 512 x 1 x 1"),
    ],
)  # fmt: skip
def test_another_shape_is_refused_by_layer(name: str, shape: tuple[int, ...], message: str, tmp_path: Path) -> None:
    import torch

    weights = trill_network.random_weights(512, 0) | {name: torch.zeros(shape)}
    tensor_file.write(tmp_path / "t.safetensors", weights, {})
    with pytest.raises(UsageError, match=f"encoder trill expects .*{message}"):
        build(tmp_path / "t.safetensors")


def test_damaged_and_unfinished_weights_are_refused(random_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(random_file.read_bytes()[:5000])
    with pytest.raises(DataError, match="is damaged or cut off"):
        build(path)
    weights = tensor_file.add_prefix("model", trill_network.random_weights(512, 0))
    tensor_file.write(path, weights, {"format": "emofuse-pretraining-1"})
    with pytest.raises(UsageError, match="is the training checkpoint of an unfinished run: repeat the command"):
        build(path)


def test_it_can_be_fitted_further_and_loads_again(random_file: Path, tmp_path: Path) -> None:
    encoder = build(random_file)
    tuning = encoder.tuning()
    assert [block.name for block in tuning.blocks] == [f"layer {n}" for n in range(1, 10)]
    clips = [speech(20000), speech(900, 1)]
    tuning.pooled(clips).sum().backward()
    for block in tuning.blocks:
        for parameter in block.parameters:
            assert parameter.grad is not None
            parameter.data -= 1e-3 * parameter.grad
    card = {"format": "emofuse-finetune-1", "pretrained_on": "x", "fitted_on": [{"corpus": "savee", "labels": True}]}
    tuning.save(tmp_path, card)
    again = build(tmp_path)
    assert again.provenance()["fitted_on"] == card["fitted_on"]
    for ours, theirs in zip(again.encode(clips), encoder.encode(clips), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_extract_takes_it(corpus: Path, random_file: Path) -> None:
    done = extract(corpus, *OWN, "--encoder", "trill", "--weights", str(random_file), "--layers", "7", "--quiet")
    assert done.returncode == 0, done.stderr
    with FeatureStore(corpus / "own.h5") as store:
        frames = store.feature("trill").read([f"c{i}" for i in range(8)])
        assert (frames.lengths.tolist(), frames.values.shape[1]) == ([1, 1, 1, 2, 2, 2, 3, 3], 512)
