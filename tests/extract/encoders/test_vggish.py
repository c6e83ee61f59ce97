"""VGGish with RANDOM weights: its maths by torch's own layers, every form of its weights, PCA and quantisation."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from patch_samples import random_vggish, relative, save_pca, save_random_weights, speech

from emofuse.common.errors import DataError, UsageError
from emofuse.extract.encoders import vggish
from emofuse.extract.encoders.blocks import audioset_logmel
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions

# torchvggish's name, TensorFlow's name
NAMES = {
    "features.0": "conv1", "features.3": "conv2", "features.6": "conv3/conv3_1", "features.8": "conv3/conv3_2",
    "features.11": "conv4/conv4_1", "features.13": "conv4/conv4_2", "embeddings.0": "fc1/fc1_1",
    "embeddings.2": "fc1/fc1_2", "embeddings.4": "fc2",
}  # fmt: skip


def build(path: Path, layers: str = "last") -> Any:
    return ENCODERS["vggish"].build(EncoderOptions(weights=str(path), layers=layers))


@pytest.fixture(scope="module")
def random_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_weights(tmp_path_factory.mktemp("vggish"), "vggish")


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return speech(32000)


@pytest.fixture(scope="module")
def embedding(random_file: Path, clip: np.ndarray) -> np.ndarray:
    return build(random_file).encode([clip])[0]


def _by_name(state: dict[str, Any], patches: np.ndarray) -> dict[int, np.ndarray]:
    """Every layer by torch's own modules, filled by name; flattened as TensorFlow does, channels last."""
    import torch
    from torch import nn

    def filled(module: Any, name: str) -> Any:
        module.load_state_dict({part: state[f"{name}.{part}"] for part in ("weight", "bias")})
        return module

    widths = {"features.0": 64, "features.3": 128, "features.6": 256, "features.8": 256}
    found: dict[int, np.ndarray] = {}
    with torch.no_grad():
        hidden = torch.from_numpy(patches)[:, None]
        for layer, name in enumerate(list(NAMES)[:6], 1):
            conv = filled(nn.Conv2d(hidden.shape[1], widths.get(name, 512), 3, padding="same"), name)
            hidden = torch.relu(conv(hidden))
            found[layer] = hidden.numpy().mean(axis=(2, 3))
            if name not in ("features.6", "features.11"):  # the first halves of their pairs
                hidden = nn.MaxPool2d(2, 2)(hidden)
        flat = torch.from_numpy(np.moveaxis(hidden.numpy(), 1, 3).reshape(len(patches), -1))
        for layer, (name, width) in enumerate(zip(list(NAMES)[6:], (4096, 4096, 128), strict=True), 7):
            flat = filled(nn.Linear(flat.shape[1], width), name)(flat)
            flat = torch.relu(flat) if layer < 9 else flat
            found[layer] = flat.numpy()
    return found


@pytest.mark.slow
def test_every_layer_is_the_published_networks(random_file: Path, clip: np.ndarray) -> None:
    expected = _by_name(random_vggish(), vggish.FRONT_END.patches(clip).numpy())
    for layer in range(1, 10):
        frames = build(random_file, str(layer)).encode([clip])[0]
        assert len(frames) == 2
        assert relative(frames, expected[layer]) < 1e-5, layer
    both = build(random_file, "fc1,fc2").encode([clip])[0]
    assert relative(both, np.stack([expected[7], expected[8]], axis=1)) < 1e-5
    assert (expected[9] < 0).any(), "the embedding has no ReLU"


def test_patches_of_a_batch_are_those_of_each_clip() -> None:
    clips = [speech(n, n) for n in (1, 399, 40000, 15600, 31199, 0, 90001)]
    for clip, patches in zip(clips, vggish.FRONT_END.batch(clips), strict=True):
        np.testing.assert_array_equal(patches.numpy(), vggish.FRONT_END.patches(clip).numpy())
    assert vggish.FRONT_END.batch([]) == []


def test_spectra_are_transformed_in_blocks_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    clips = [speech(n, n) for n in (60000, 400, 559, 560, 20001)]
    alone = [audioset_logmel.log_mel(clip, 0.01).numpy() for clip in clips]
    assert [len(bands) for bands in alone] == [373, 1, 1, 2, 123]
    shapes, rfft = set(), torch.fft.rfft
    monkeypatch.setattr(torch.fft, "rfft", lambda values: (shapes.add(tuple(values.shape)), rfft(values))[1])
    for bands, expected in zip(audioset_logmel.log_mels(clips, 0.01), alone, strict=True):
        np.testing.assert_array_equal(bands.numpy(), expected)
    assert shapes == {(audioset_logmel._BLOCK, 512)}


def _slim(state: dict[str, Any]) -> dict[str, np.ndarray]:
    """The checkpoint's variables: kernels [height, width, in, out] and [in, out]."""
    found = {}
    for torch_name, name in NAMES.items():
        weight = state[f"{torch_name}.weight"].numpy()
        found[f"vggish/{name}/weights"] = weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T
        found[f"vggish/{name}/biases"] = state[f"{torch_name}.bias"].numpy()
    return found


@pytest.mark.slow
def test_tensorflows_variables_give_what_the_conversion_gives(
    tmp_path: Path, clip: np.ndarray, embedding: np.ndarray
) -> None:
    variables = _slim(random_vggish())
    assert variables["vggish/conv4/conv4_1/weights"].shape == (3, 3, 256, 512)
    assert variables["vggish/fc1/fc1_1/weights"].shape == (12288, 4096)
    extra = {"vggish/fc2/biases/Adam": np.zeros(128), "global_step": np.array(7)}  # a checkpoint keeps such beside them
    np.savez_compressed(tmp_path / "vggish.npz", **variables, **extra)
    np.testing.assert_array_equal(build(tmp_path / "vggish.npz").encode([clip])[0], embedding)


@pytest.mark.parametrize("form", ["legacy", "state_dict", "prefixed", "safetensors"])
def test_every_form_of_the_conversion_is_read(
    form: str, tmp_path: Path, clip: np.ndarray, embedding: np.ndarray
) -> None:
    import torch
    from safetensors.torch import save_file

    state, path = random_vggish(), tmp_path / "vggish.pth"
    if form == "legacy":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    elif form == "state_dict":
        torch.save({"state_dict": state, "epoch": 3}, path)
    elif form == "prefixed":
        torch.save({f"module.{name}": values for name, values in state.items()}, path)
    else:
        path = tmp_path / "vggish.safetensors"
        save_file({name: values.contiguous() for name, values in state.items()}, path)
    np.testing.assert_array_equal(build(path).encode([clip])[0], embedding)
    path.unlink()


def _published_postprocess(
    embeddings: np.ndarray, vectors: np.ndarray, means: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    whitened = np.dot(vectors, embeddings.T - means.reshape(-1, 1)).T
    return whitened, ((np.clip(whitened, -2.0, 2.0) + 2.0) * (255.0 / 4.0)).astype(np.uint8)


@pytest.mark.slow
def test_pca_and_quantisation_are_the_published_ones(
    random_file: Path, clip: np.ndarray, embedding: np.ndarray
) -> None:
    pca = np.load(random_file.parent / "random_vggish_pca_params.npz")
    whitened, codes = _published_postprocess(embedding, pca["pca_eigen_vectors"], pca["pca_means"])
    assert len(np.unique(codes)) > 20
    assert relative(build(random_file, "pca").encode([clip])[0], whitened) < 1e-5
    ours = build(random_file, "quantised").encode([clip])[0]
    steps = np.abs(ours - codes)
    assert steps.max() <= 1  # a value on the edge of a step may fall to either side
    assert (steps == 0).mean() > 0.99
    assert set(np.unique(ours)) <= set(range(256))
    both = build(random_file, "embedding,pca").encode([clip])[0]
    np.testing.assert_array_equal(both[:, 0], embedding)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["column", "arrays in a torch file", "arrays as old numpy names them", "tensors"])
def test_every_form_of_the_pca_parameters_is_read(
    form: str, random_file: Path, clip: np.ndarray, tmp_path: Path
) -> None:
    import torch

    weights = tmp_path / "vggish.pth"
    weights.write_bytes(random_file.read_bytes())
    parts = dict(np.load(random_file.parent / "random_vggish_pca_params.npz"))
    if form == "column":
        np.savez(tmp_path / "pca.npz", **{**parts, "pca_means": parts["pca_means"].reshape(-1, 1)})
    elif form == "tensors":
        torch.save({name: torch.from_numpy(values) for name, values in parts.items()}, tmp_path / "pca.pth")
    else:
        torch.save(parts, tmp_path / "pca.pth", _use_new_zipfile_serialization=False)
        if "old" in form:
            new = (tmp_path / "pca.pth").read_bytes()
            (tmp_path / "pca.pth").write_bytes(new.replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n"))
    expected = build(random_file, "pca").encode([clip])[0]
    np.testing.assert_array_equal(build(weights, "pca").encode([clip])[0], expected)


@pytest.mark.slow
def test_pca_changes_the_identity_and_its_absence_is_reported(random_file: Path, tmp_path: Path) -> None:
    weights = tmp_path / "vggish.pth"
    weights.write_bytes(random_file.read_bytes())
    assert build(weights).identity() == build(random_file).identity()
    with pytest.raises(
        UsageError, match=r"pca and quantised need VGGish's PCA parameters.* holds none; download https://"
    ):
        build(weights, "pca")
    save_pca(tmp_path / "vggish_pca_params.npz", seed=5)
    identities = [build(path, layers).identity() for path in (weights, random_file) for layers in ("pca", "quantised")]
    assert len({repr(identity) for identity in identities}) == 4
    save_pca(tmp_path / "other_pca.npz", seed=6)
    with pytest.raises(UsageError, match=r"holds other_pca\.npz, vggish_pca_params\.npz; download"):
        build(weights, "pca")
    (tmp_path / "other_pca.npz").unlink()
    np.savez(tmp_path / "vggish_pca_params.npz", pca_eigen_vectors=np.zeros((64, 128)), pca_means=np.zeros(128))
    with pytest.raises(UsageError, match="expects pca_eigen_vectors of shape 128 x 128, found 64 x 128"):
        build(weights, "quantised")


def test_the_wrong_file_is_named_with_what_it_looks_like(random_file: Path, tmp_path: Path) -> None:
    import torch

    keras = save_random_weights(tmp_path, "yamnet")
    missing = (
        r"vggish expects conv1 \(features\.0\.weight\) of shape 64 x 1 x 3 x 3, "
        "which is missing from the file; these look like"
    )
    with pytest.raises(UsageError, match=f"{missing} weights of yamnet"):
        build(keras)
    with pytest.raises(UsageError, match=f"{missing} weights of vggish's PCA parameters"):
        build(random_file.parent / "random_vggish_pca_params.npz")
    pictures = {"features.0.weight": torch.zeros(64, 3, 3, 3), "classifier.6.weight": torch.zeros(10, 4)}
    torch.save(pictures, tmp_path / "vgg11.pth")
    with pytest.raises(
        UsageError, match=r"64 x 1 x 3 x 3, found 64 x 3 x 3 x 3; these look like weights of torchvision's"
    ):
        build(tmp_path / "vgg11.pth")
    narrow = {**random_vggish(), "embeddings.2.weight": torch.zeros(1024, 4096)}
    torch.save(narrow, tmp_path / "narrow.pth")
    with pytest.raises(
        UsageError, match=r"fc1/fc1_2 \(embeddings\.2\.weight\) of shape 4096 x 4096, found 1024 x 4096$"
    ):
        build(tmp_path / "narrow.pth")
    np.savez(tmp_path / "w.npz", **{"vggish/conv1/weights": np.zeros((64, 1, 3, 3))})
    with pytest.raises(UsageError, match="vggish/conv1/weights of shape 3 x 3 x 1 x 64, found 64 x 1 x 3 x 3"):
        build(tmp_path / "w.npz")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(UsageError, match="holds a list, expected a state dict"):
        build(tmp_path / "list.pth")


def test_tensorflows_checkpoint_itself_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "vggish_model.ckpt").write_bytes(bytes(100) + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb")
    with pytest.raises(
        UsageError, match=r"no weights of a kind that encoder vggish reads; .*convert .*emofuse help encoders"
    ):
        build(tmp_path / "vggish_model.ckpt")


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def test_code_in_weights_is_never_run(tmp_path: Path) -> None:
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"w": Evil(tmp_path / "mark")}, protocol=2))
    with pytest.raises(DataError, match="pickled code or is damaged"):
        build(tmp_path / "evil.pth")
    np.savez(tmp_path / "evil.npz", **{"vggish/conv1/weights": np.array(Evil(tmp_path / "mark"), dtype=object)})
    with pytest.raises(UsageError, match="found none"):
        build(tmp_path / "evil.npz")
    objects = np.full((3, 3, 1, 64), Evil(tmp_path / "mark"), dtype=object)
    np.savez(tmp_path / "evil.npz", **{"vggish/conv1/weights": objects})
    with pytest.raises(DataError, match="damaged at vggish/conv1/weights"):
        build(tmp_path / "evil.npz")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("suffix", [".pth", ".npz", ".safetensors"])
def test_damaged_files_end_in_one_message(suffix: str, tmp_path: Path) -> None:
    import torch
    from safetensors.numpy import save_file

    path = tmp_path / f"w{suffix}"
    small = {"vggish/conv1/weights": np.ones((3, 3, 1, 64), np.float32)}
    if suffix == ".npz":
        np.savez(path, **small)
    elif suffix == ".pth":
        torch.save({"features.0.weight": torch.ones(64, 1, 3, 3)}, path)
    else:
        save_file(small, path)
    whole = path.read_bytes()
    for size in (0, 9, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:size])
        with pytest.raises((DataError, UsageError), match=rf"w\{suffix} (is empty|is damaged|holds )"):
            build(path)
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 255
    path.write_bytes(bytes(damaged))
    with pytest.raises((DataError, UsageError), match=rf"w\{suffix}"):
        build(path)


def test_a_shape_larger_than_the_memory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    import torch

    torch.save({"features.0.weight": torch.zeros(1).expand(1 << 20, 1 << 20)}, tmp_path / "bomb.pth")
    with pytest.raises(UsageError, match="of shape 64 x 1 x 3 x 3, found 1048576 x 1048576"):
        build(tmp_path / "bomb.pth")
