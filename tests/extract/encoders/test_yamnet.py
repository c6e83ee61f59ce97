"""YAMNet: parity with the real model, its maths by an independent computation, its weights in both published forms."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from extract_samples import OWN, corpus, extract
from patch_samples import (
    CONV,
    DENSE,
    DEPTHWISE,
    DEQUANTIZE,
    RESHAPE,
    YAMNET_WIDTHS,
    Arrays,
    Vector,
    flatbuffer,
    model,
    random_keras_yamnet,
    relative,
    save_keras,
    save_random_weights,
    speech,
    tensor,
)  # fmt: skip

from emofuse.common.errors import DataError, UsageError
from emofuse.extract.encoders import yamnet
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions
from emofuse.extract.encoders.weights.tensors import read_tensors
from emofuse.store import FeatureStore

__all__ = ["corpus"]

STRIDES = (2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
WHITE_NOISE = 7  # the last of the reference's clips


def build(path: Path, layers: str = "last") -> Any:
    return ENCODERS["yamnet"].build(EncoderOptions(weights=str(path), layers=layers))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.fixture(scope="module")
def random_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_weights(tmp_path_factory.mktemp("yamnet"), "yamnet")


@pytest.fixture(scope="module")
def real(shared: Path) -> Path:
    folder = shared / "data" / "yamnet"
    if not folder.is_dir():
        pytest.skip(f"no real YAMNet at {folder}")
    return folder


def test_parity_with_the_real_model(real: Path) -> None:
    import torch

    reference = np.load(real / "yamnet_reference.npz")
    names = [row[2] for row in csv.reader((real / "yamnet_class_map.csv").open())][1:]
    encoders = {layers: build(real / "yamnet.tflite", layers) for layers in ("10", "embedding", "scores")}
    patches = torch.from_numpy(reference["log_mel"])
    ours = {layers: e.network.forward(e.parameters, patches, e.numbers)[:, 0].numpy() for layers, e in encoders.items()}
    whole = {layers: np.concatenate(e.encode(list(reference["waveform"]))) for layers, e in encoders.items()}
    layer10 = reference["layer10"].mean(axis=(1, 2))
    for waveform, log_mel in zip(reference["waveform"], reference["log_mel"], strict=True):
        loud = log_mel > log_mel.max() - 2  # where 8 bits are enough
        assert np.abs(yamnet.FRONT_END.patches(waveform)[0].numpy() - log_mel)[loud].mean() < 0.01
    print("\nclip  layer 10  embedding | from the waveform: layer 10  embedding | top class: real, ours, whole")
    for n in range(8):
        top = [names[int(s[n].argmax())] for s in (reference["scores"], ours["scores"], whole["scores"])]
        a, b = cosine(ours["10"][n], layer10[n]), cosine(ours["embedding"][n], reference["embedding"][n])
        c, d = (
            cosine(whole["10"][n], layer10[n]),
            cosine(whole["embedding"][n], reference["embedding"][n]),
        )
        print(f"{n}     {a:.4f}    {b:.4f}    |                    {c:.4f}    {d:.4f}    | {', '.join(top)}")
        assert a >= 0.995
        assert b >= (0.90 if n == WHITE_NOISE else 0.985)
        assert len(set(top)) == 1


def test_what_is_left_to_the_real_model_is_its_8_bit_rounding(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow Lite rounds what enters an 8-bit kernel to 8 bits too; rounded alike, our layers are the real ones."""
    import torch
    from torch.nn import functional

    conv2d, linear = functional.conv2d, functional.linear

    def rounded(values: torch.Tensor) -> torch.Tensor:
        step = values.flatten(1).abs().amax(1).clamp(min=1e-9).reshape(-1, *[1] * (values.ndim - 1)) / 127
        return torch.round(values / step) * step

    def pointwise(values: torch.Tensor, kernel: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        return conv2d(rounded(values) if kernel.shape[2] == 1 else values, kernel, *rest, **named)

    monkeypatch.setattr(functional, "conv2d", pointwise)
    monkeypatch.setattr(functional, "linear", lambda values, *rest: linear(rounded(values), *rest))
    reference = np.load(real / "yamnet_reference.npz")
    wanted = {"10": reference["layer10"].mean(axis=(1, 2)), **{k: reference[k] for k in ("embedding", "scores")}}
    for layers, theirs in wanted.items():
        encoder = build(real / "yamnet.tflite", layers)
        patches = torch.from_numpy(reference["log_mel"])
        ours = encoder.network.forward(encoder.parameters, patches, encoder.numbers)[:, 0].numpy()
        for n in range(8):
            assert cosine(ours[n], theirs[n]) > (0.99 if n == WHITE_NOISE else 0.9999), (layers, n)


def _by_name(arrays: Arrays, patches: np.ndarray) -> dict[int | str, np.ndarray]:
    """Every layer by torch's own modules, batch norm as it is published, "same" by TensorFlow's formula."""
    import torch
    from torch import nn

    def same(hidden: torch.Tensor, side: int, stride: int) -> torch.Tensor:
        pads: list[int] = []
        for length in (hidden.shape[3], hidden.shape[2]):
            total = max((-(-length // stride) - 1) * stride + side - length, 0)
            pads += [total // 2, total - total // 2]
        return nn.functional.pad(hidden, pads)

    def block(hidden: torch.Tensor, name: str, kernel: np.ndarray, stride: int, groups: int) -> torch.Tensor:
        out, before, side, _ = kernel.shape
        conv = nn.Conv2d(before * groups, out, side, stride, groups=groups, bias=False)
        norm = nn.BatchNorm2d(out, eps=1e-4).eval()
        conv.weight.data = torch.from_numpy(kernel.copy())
        norm.bias.data = torch.from_numpy(arrays[f"{name}/bn/beta"])
        norm.running_mean = torch.from_numpy(arrays[f"{name}/bn/moving_mean"])
        norm.running_var = torch.from_numpy(arrays[f"{name}/bn/moving_variance"])
        return nn.functional.relu(norm(conv(same(hidden, side, stride))))

    found: dict[int | str, np.ndarray] = {}
    with torch.no_grad():
        hidden = torch.from_numpy(patches)[:, None]
        for layer, stride in enumerate(STRIDES, 1):
            if layer == 1:
                kernel = arrays["layer1/conv/kernel"].transpose(3, 2, 0, 1)
                hidden = block(hidden, "layer1/conv", kernel, stride, 1)
            else:
                name = f"layer{layer}/depthwise_conv"
                kernel = np.moveaxis(arrays[f"{name}/depthwise_kernel"], (2, 3), (0, 1))
                hidden = block(hidden, name, kernel, stride, len(kernel))
                name = f"layer{layer}/pointwise_conv"
                hidden = block(hidden, name, arrays[f"{name}/kernel"].transpose(3, 2, 0, 1), 1, 1)
            found[layer] = hidden.numpy().mean(axis=(2, 3))
        logits = found[14] @ arrays["dense/kernel"] + arrays["dense/bias"]
        found["scores"] = 1 / (1 + np.exp(-logits))
    return found


def test_every_layer_is_the_published_networks(random_file: Path) -> None:
    clip = speech(30000)
    expected = _by_name(random_keras_yamnet(), yamnet.FRONT_END.patches(clip).numpy())
    for layer in range(1, 15):
        frames = build(random_file, str(layer)).encode([clip])[0]
        assert frames.shape == (3, YAMNET_WIDTHS[layer - 1])
        assert relative(frames, expected[layer]) < 1e-5, layer
    assert relative(build(random_file, "scores").encode([clip])[0], expected["scores"]) < 1e-5
    stacked = build(random_file, "12,8").encode([clip])[0]
    assert relative(stacked, np.stack([expected[12], expected[8]], axis=1)) < 1e-5


@pytest.mark.parametrize("dense", ["dense", "dense_1", "logits"])
def test_keras_names_of_the_dense_layer_and_groups_around_the_model(
    dense: str, random_file: Path, tmp_path: Path
) -> None:
    path = save_keras(
        tmp_path / "w.h5", {k.replace("dense/", f"{dense}/"): v for k, v in random_keras_yamnet().items()}
    )
    with h5py.File(path, "a") as file:  # a whole saved model keeps its weights in a group
        for name in list(file):
            file.move(name, f"model_weights/{name}")
    frames = build(path, "scores").encode([speech(900)])[0]
    np.testing.assert_array_equal(frames, build(random_file, "scores").encode([speech(900)])[0])


def _folded(arrays: Arrays) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Operators in TensorFlow Lite's layouts, batch norm folded: code, kernel, bias."""
    found = []
    for name in [n for n in arrays if n.endswith("kernel") and n != "dense/kernel"]:
        base = name.rsplit("/", 1)[0]
        scale = 1 / np.sqrt(arrays[f"{base}/bn/moving_variance"] + 1e-4)
        bias = arrays[f"{base}/bn/beta"] - arrays[f"{base}/bn/moving_mean"] * scale
        if "depthwise" in name:
            found.append((DEPTHWISE, (arrays[name][..., 0] * scale)[None], bias))
        else:
            found.append((CONV, arrays[name].transpose(3, 0, 1, 2) * scale[:, None, None, None], bias))
    return [*found, (DENSE, arrays["dense/kernel"].T, arrays["dense/bias"])]


def random_tflite(arrays: Arrays, quantised: bool) -> bytes:
    """A YAMNet by hand: a dense layer of the spectrogram first; kernels as floats, or in turn as int8 per channel, as
    uint8 with a zero point, as halves that are unpacked by a separate operator."""
    tensors = [tensor((257, 512), 0), tensor((1, 15600), 0)]
    buffers, operators = [b"", bytes(8)], [(RESHAPE, [1], [1]), (DENSE, [1, 0, -1], [1])]

    def add(values: np.ndarray, kind: str, quantisation: dict[int, Any] | None = None) -> int:
        buffers.append(np.ascontiguousarray(values).tobytes())
        tensors.append(tensor(values.shape, len(buffers) - 1, kind, quantisation))
        return len(tensors) - 1

    for n, (code, kernel, bias) in enumerate(_folded(arrays)):
        turn = n % 4 if quantised else 0
        if turn == 1:
            axis = 3 if code == DEPTHWISE else 0
            others = tuple(a for a in range(kernel.ndim) if a != axis)
            scales = np.abs(kernel).max(axis=others) / 127
            along = np.expand_dims(scales, others)
            parts = {2: Vector("f", scales), 3: Vector("q", [0] * len(scales)), 6: ("i", axis)}
            weight = add(np.round(kernel / along).astype("i1"), "int8", parts)
        elif turn == 2:
            scale = float(kernel.max() - kernel.min()) / 255
            zero = round(-float(kernel.min()) / scale)
            parts = {2: Vector("f", [scale]), 3: Vector("q", [zero])}
            weight = add(np.clip(np.round(kernel / scale) + zero, 0, 255).astype("u1"), "uint8", parts)
        elif turn == 3:
            packed = add(kernel.astype("f2"), "float16")
            tensors.append(tensor(kernel.shape, 0))
            weight = len(tensors) - 1
            operators.append((DEQUANTIZE, [packed], [weight]))
        else:
            weight = add(kernel.astype("f4"), "float32")
        operators.append((code, [1, weight, add(bias.astype("f4"), "float32")], [1]))
    return flatbuffer(model(operators, tensors, buffers))


def test_tflite_with_floats_gives_what_keras_gives(random_file: Path, tmp_path: Path) -> None:
    (tmp_path / "y.tflite").write_bytes(random_tflite(random_keras_yamnet(), quantised=False))
    for layers in ("1", "10", "last", "scores"):
        a, b = (build(path, layers).encode([speech(25000)])[0] for path in (tmp_path / "y.tflite", random_file))
        assert relative(a, b) < 1e-5


def test_tflite_weights_are_dequantised(tmp_path: Path) -> None:
    arrays = random_keras_yamnet()
    (tmp_path / "y.tflite").write_bytes(random_tflite(arrays, quantised=True))
    weights = yamnet.read_weights(read_tensors(tmp_path / "y.tflite", "yamnet", ""))
    kernels = [v for k, v in weights.items() if k.endswith("kernel")]
    assert len(kernels) == 28
    for kernel, (code, wanted, _) in zip(kernels, _folded(arrays), strict=True):
        if code != DENSE:
            wanted = np.moveaxis(wanted, 3, 0 if code == DEPTHWISE else 1)
        assert np.abs(kernel - wanted).max() <= np.abs(wanted).max() / 127


@pytest.mark.parametrize("size", [0, 3, 8, 100, 4000, 200_000])
def test_a_cut_tflite_is_reported(size: int, tmp_path: Path) -> None:
    whole = random_tflite(random_keras_yamnet(), quantised=True)
    path = tmp_path / "cut.tflite"
    path.write_bytes(whole[:size])
    with pytest.raises((DataError, UsageError), match=r"cut\.tflite (is empty|is damaged|holds no weights)"):
        build(path)


def test_a_cut_or_foreign_h5_is_reported(random_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.h5"
    path.write_bytes(random_file.read_bytes()[:100_000])
    with pytest.raises(DataError, match=r"cut\.h5 is damaged or cut off"):
        build(path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["features"] = np.zeros(3)
    with pytest.raises(
        UsageError,
        match=r"expects layer1/conv/kernel of shape 3 x 3 x 1 x 32, which is missing from the file; it has features",
    ):
        build(tmp_path / "other.h5")


def test_values_that_are_no_numbers_are_refused(random_file: Path, tmp_path: Path) -> None:
    shutil.copy(random_file, tmp_path / "nan.h5")
    with h5py.File(tmp_path / "nan.h5", "a") as file:
        file["layer3/pointwise_conv/layer3/pointwise_conv/kernel:0"][0, 0, 5, 5] = np.nan
    with pytest.raises(DataError, match=r"holds values in layer3/pointwise_conv/kernel that are not finite numbers"):
        build(tmp_path / "nan.h5")


def test_another_shape_names_layer_and_shapes(tmp_path: Path) -> None:
    arrays = random_keras_yamnet()
    arrays["layer5/pointwise_conv/kernel"] = np.zeros((1, 1, 128, 200), np.float32)
    with pytest.raises(
        UsageError,
        match=r"yamnet expects layer5/pointwise_conv/kernel of shape 1 x 1 x 128 x 256, found 1 x 1 x 128 x 200",
    ):
        build(save_keras(tmp_path / "w.h5", arrays))
    kernel = np.zeros((32, 3, 3, 3), np.float32)  # pictures have three colours
    parts = model([(CONV, [0, 1, 2], [0])], [tensor((1,), 0), tensor(kernel.shape, 1)], [b"", kernel.tobytes()])
    (tmp_path / "w.tflite").write_bytes(flatbuffer(parts))
    with pytest.raises(DataError, match=r"is damaged or cut off \(0/conv/bias is tensor 2 of 2\)"):
        build(tmp_path / "w.tflite")
    parts = model([(CONV, [0, 1], [0])], [tensor((1,), 0), tensor(kernel.shape, 1)], [b"", kernel.tobytes()])
    (tmp_path / "w.tflite").write_bytes(flatbuffer(parts))
    with pytest.raises(
        UsageError, match=r"expects layer1/conv \(0/conv/kernel\) of shape 32 x 3 x 3 x 1, found 32 x 3 x 3 x 3"
    ):
        build(tmp_path / "w.tflite")


def test_weights_of_vggish_are_recognised(tmp_path: Path) -> None:
    path = save_random_weights(tmp_path, "vggish")
    with pytest.raises(
        UsageError, match=r"reads \.h5 and \.tflite, not torch; these look like weights of vggish; download"
    ):
        build(path)


def test_extract_stores_layer_10_of_clips_shorter_than_a_patch(corpus: Path, random_file: Path) -> None:
    refused = extract(corpus, *OWN, "--encoder", "yamnet")
    assert refused.returncode == 2
    assert "error: encoder yamnet has no default weights: download https://" in refused.stderr
    done = extract(corpus, *OWN, "--encoder", "yamnet", "--weights", str(random_file), "--layers", "10", "--quiet")
    assert done.returncode == 0, done.stderr
    with FeatureStore(corpus / "own.h5") as store:
        feature = store.feature("yamnet")
        lengths = [1 + max(0, -(-(int((0.4 + 0.2 * i) * 16000) - 15600) // 7680)) for i in range(8)]
        assert lengths == [1, 1, 1, 2, 2, 2, 3, 3]
        frames = feature.read([f"c{i}" for i in range(8)])
        assert (frames.lengths.tolist(), frames.values.shape) == (lengths, (15, 512))
        assert feature.layers == ()
        assert feature.frame_rate == pytest.approx(1 / 0.48)
