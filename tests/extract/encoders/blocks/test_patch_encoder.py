"""AudioSet's log-Mel patches against independent formulas, and what holds for every encoder over them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from patch_samples import MODULES, relative, save_random_weights, speech

from emofuse.common.errors import UsageError
from emofuse.extract.encoders import vggish, yamnet
from emofuse.extract.encoders.blocks import audioset_logmel
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions

NAMES = sorted(MODULES)
PUBLISHED = ["vggish", "yamnet"]
# encoder, --layers, layer axis, width
CASES = [
    ("yamnet", "last", (), 1024), ("yamnet", "10", (), 512), ("yamnet", "9,7,8", (9, 7, 8), 512),
    ("yamnet", "scores", (), 521), ("vggish", "last", (), 128),
    pytest.param("vggish", "fc1", (), 4096, marks=pytest.mark.slow),
    pytest.param("vggish", "fc1,fc2", (7, 8), 4096, marks=pytest.mark.slow),
    pytest.param("vggish", "3", (), 256, marks=pytest.mark.slow), ("vggish", "pca", (), 128),
    ("trill", "last", (), 512), ("trill", "1", (), 32), ("trill", "9,7", (9, 7), 512),
]  # fmt: skip
EDGES = [1, 399, 400, 8000, 15599, 15600, 15601, 23279, 23280, 23281, 30959, 30960, 30961, 48000]
Build = Callable[..., Any]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: save_random_weights(tmp_path_factory.mktemp(name), name) for name in NAMES}


@pytest.fixture(scope="module")
def build(files: dict[str, Path]) -> Build:
    built: dict[tuple[str, ...], Any] = {}

    def _build(name: str, layers: str = "last", precision: str = "fp32") -> Any:
        key = (name, layers, precision)
        if key not in built:
            options = EncoderOptions(weights=str(files[name]), layers=layers, precision=precision)
            built[key] = ENCODERS[name].build(options)
        return built[key]

    return _build


def test_the_mel_matrix_is_made_of_triangles_on_htks_scale() -> None:
    def mel(hertz: float) -> float:
        return 1127.0 * math.log(1 + hertz / 700)

    step = (mel(7500) - mel(125)) / 65
    matrix = audioset_logmel.mel_matrix()
    assert matrix.shape == (257, 64)
    for band in range(64):
        corners = [mel(125) + step * (band + n) for n in range(3)]
        for bin in range(257):
            wanted = np.interp(mel(bin * 16000 / 512), corners, [0, 1, 0]) if bin else 0
            assert matrix[bin, band] == pytest.approx(wanted, abs=1e-12)
    assert (matrix.sum(axis=0) > 0).all()
    assert not matrix[0].any()


def _log_mel(waveform: np.ndarray, offset: float) -> np.ndarray:
    """By the definition of the Fourier transform, window by window."""
    time, bins = np.arange(400), np.arange(257)[:, None]
    wave = np.exp(-2j * np.pi * bins * time / 512) * (0.5 - 0.5 * np.cos(2 * np.pi * time / 400))
    frames = [wave @ waveform[i : i + 400].astype(np.float64) for i in range(0, len(waveform) - 399, 160)]
    return np.log(np.abs(np.stack(frames)) @ audioset_logmel.mel_matrix() + offset)


@pytest.mark.parametrize("offset", [0.001, 0.01])
def test_log_mel_is_the_definitions(offset: float) -> None:
    for waveform in (speech(16123, 2), np.zeros(1000, np.float32), 0.99 * np.sign(speech(3000))):
        ours = audioset_logmel.log_mel(waveform, offset).numpy()
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, _log_mel(waveform, offset), atol=1e-5)


def test_log_mel_in_blocks_is_log_mel_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = audioset_logmel.log_mel(speech(20000), 0.01)
    monkeypatch.setattr(audioset_logmel, "_BLOCK", 7)
    np.testing.assert_array_equal(audioset_logmel.log_mel(speech(20000), 0.01), whole)


@pytest.mark.parametrize("samples", [*EDGES, 38639, 38640, 38641, 16000 * 3600])
def test_patches_are_counted_as_the_published_code_counts_them(samples: int) -> None:
    missing = max(0, 15600 - samples)
    hops = math.ceil((samples + missing - 15600) / 7680)
    padded = 15600 + 7680 * hops
    windows = (padded - 400) // 160 + 1
    assert yamnet.FRONT_END.count(samples) == (windows - 96) // 48 + 1
    windows = (samples - 400) // 160 + 1
    assert vggish.FRONT_END.count(samples) == max(1, (windows - 96) // 96 + 1)


@pytest.mark.parametrize("front_end", [yamnet.FRONT_END, vggish.FRONT_END])
@pytest.mark.parametrize("samples", EDGES)
def test_patches_are_cut_from_the_log_mel_of_the_filled_clip(front_end: audioset_logmel.FrontEnd, samples: int) -> None:
    clip = speech(samples)
    patches = front_end.patches(clip).numpy()
    filled = audioset_logmel.log_mel(np.concatenate([clip, np.zeros(16000, np.float32)]), front_end.offset).numpy()
    assert patches.shape == (front_end.count(samples), 96, 64)
    for n, patch in enumerate(patches):
        np.testing.assert_array_equal(patch, filled[n * front_end.hop : n * front_end.hop + 96])


@pytest.mark.slow
def test_of_a_long_clip_yamnet_reads_all_and_vggish_whole_patches_alone(build: Build) -> None:
    clip = speech(30000)
    cut = clip.copy()
    cut[15600:] = 0
    assert not np.array_equal(build("yamnet").encode([clip])[0][1], build("yamnet").encode([cut])[0][1])
    np.testing.assert_array_equal(build("vggish").encode([clip])[0], build("vggish").encode([cut])[0])


@pytest.mark.parametrize(("name", "layers", "axis", "width"), CASES)
def test_an_utterance_is_encoded_equally_alone_and_in_a_batch(
    name: str, layers: str, axis: tuple[int, ...], width: int, build: Build
) -> None:
    encoder = build(name, layers)
    clips = [speech(n, seed) for seed, n in enumerate((5000, 40000, 401, 16000, 5000))]
    assert (encoder.layers, encoder.dimension, encoder.modality) == (axis, width, "audio")
    for clip, batched in zip(clips, encoder.encode(clips), strict=True):
        alone = encoder.encode([clip])[0]
        shape = (encoder.length(len(clip)), *((len(axis),) if axis else ()), width)
        assert batched.shape == alone.shape == shape
        assert batched.dtype == np.float32
        assert batched.flags.owndata
        assert relative(batched, alone) <= 1e-5
        assert relative(encoder.encode([clip, 3 * speech(33000, 9)])[0], alone) <= 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_chunks_bound_the_network_and_change_nothing(name: str, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    from emofuse.extract.encoders.blocks import patch_encoder

    encoder, clips = build(name), [speech(n, n) for n in (60000, 500, 30000)]
    whole = encoder.encode(clips)
    monkeypatch.setattr(patch_encoder, "_CHUNK", 2)
    for a, b in zip(encoder.encode(clips), whole, strict=True):
        assert relative(a, b) <= 1e-5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("samples", EDGES)
def test_length_tells_what_encode_returns(name: str, samples: int, build: Build) -> None:
    encoder = build(name)
    frames = encoder.encode([speech(samples)])[0]
    assert frames.shape == (encoder.length(samples), encoder.dimension)
    assert len(frames) >= 1
    assert np.isfinite(frames).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_rates_are_the_papers(name: str, build: Build) -> None:
    encoder = build(name)
    assert encoder.frame_rate == pytest.approx({"yamnet": 1 / 0.48, "vggish": 1 / 0.96, "trill": 1 / 0.48}[name])
    assert encoder.sample_rate == 16000
    assert encoder.encode([]) == []
    assert np.isfinite(encoder.encode([np.zeros(3000, np.float32)])[0]).all()


@pytest.mark.parametrize("name", NAMES)
def test_encoding_twice_gives_the_same_bits(name: str, build: Build) -> None:
    first, second = (build(name).encode([speech(20000), speech(900)]) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_near_fp32_and_another_feature(name: str, precision: str, build: Build) -> None:
    fine, coarse = build(name), build(name, precision=precision)
    a, b = fine.encode([speech(20000)])[0], coarse.encode([speech(20000)])[0]
    assert b.dtype == np.float32
    assert 1e-5 < relative(b, a) < {"bf16": 0.15, "fp16": 0.02}[precision]
    assert fine.identity() != coarse.identity()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "vggish" else []) for name in NAMES]
)
def test_identity_follows_weights_and_layers_not_places(name: str, build: Build, tmp_path: Path) -> None:
    identity = build(name).identity()
    names = {"yamnet": ("14", "embedding"), "vggish": ("9", "embedding"), "trill": ("9", "embedding")}[name]
    assert all(build(name, layers).identity() == identity for layers in names)
    assert build(name, "3").identity() != identity
    for folder, seed in (("moved", 0), ("other", 1)):
        (tmp_path / folder).mkdir()
        path = save_random_weights(tmp_path / folder, name, seed)
        again = ENCODERS[name].build(EncoderOptions(weights=str(path)))
        assert (again.encode([speech(900)])[0] == build(name).encode([speech(900)])[0]).all() == (seed == 0)
        assert (again.identity() == identity) == (seed == 0)
    assert json.loads(json.dumps(identity)) == identity


@pytest.mark.parametrize("name", PUBLISHED)
def test_provenance_says_what_the_encoder_has_seen(name: str, build: Build, files: dict[str, Path]) -> None:
    provenance = build(name).provenance()
    assert provenance["fitted_on"] == []
    assert f"if {files[name].name} holds the published weights" in provenance["pretrained_on"]
    assert provenance["libraries"]["torch"]
    assert json.loads(json.dumps(provenance)) == provenance


@pytest.mark.parametrize(
    ("name", "layers", "message"),
    [
        ("yamnet", "15", r"expected last, embedding, scores or numbers from 1 to 14"),
        ("yamnet", "0", r"numbers from 1 to 14"), ("yamnet", "", "numbers from 1 to 14"),
        ("yamnet", "7,7", "numbers from 1 to 14"), ("yamnet", "last,14", "numbers from 1 to 14"),
        ("yamnet", "fc1", "expected last, embedding, scores"), ("yamnet", "²", "numbers from 1 to 14"),
        ("yamnet", "10,14", r"cannot share a layer axis; they are 32-dimensional: 1; .*512-dimensional: 7, "),
        ("yamnet", "embedding,scores", "different widths"), ("yamnet", "all", "needs layers of one width"),
        ("yamnet", "mean", "needs layers of one width"), ("vggish", "12", "last, fc1, fc2, embedding, pca, quantised"),
        ("vggish", "10", "numbers from 1 to 9"), ("vggish", "fc1,embedding", "128-dimensional: 2, 9, pca, quantised"),
    ],
)  # fmt: skip
def test_layers_that_are_not_there_or_do_not_stack_are_refused(
    name: str, layers: str, message: str, files: dict[str, Path]
) -> None:
    with pytest.raises(UsageError, match=message):
        ENCODERS[name].build(EncoderOptions(weights=str(files[name]), layers=layers))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [{"precision": "fp8"}, {"device": "abacus"}, {"device": "cuda:99"}])
def test_precisions_and_devices_that_are_not_there_are_refused(
    name: str, options: dict[str, str], files: dict[str, Path]
) -> None:
    with pytest.raises(UsageError, match=next(iter(options.values()))):
        ENCODERS[name].build(EncoderOptions(weights=str(files[name]), **options))


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_without_weights_it_says_where_they_are_published(name: str, tmp_path: Path, files: dict[str, Path]) -> None:
    source = {"yamnet": "https://storage.googleapis.com/audioset/yamnet.h5", "vggish": "harritaylor/torchvggish"}[name]
    for given, message in (
        (None, "has no default weights: download"),
        (str(tmp_path / "gone.h5"), "expected a file or folder that exists; download"),
        (str(tmp_path), r"holds none of .*; pass one file as --weights; download"),
    ):
        with pytest.raises(UsageError, match=rf"{message}.*{source}.* as --weights "):
            ENCODERS[name].build(EncoderOptions(weights=given))
    folder = ENCODERS[name].build(EncoderOptions(weights=str(files[name].parent)))
    assert folder.identity() == ENCODERS[name].build(EncoderOptions(weights=str(files[name]))).identity()
    for copy in ("a", "b"):
        (tmp_path / f"{copy}{files[name].suffix}").write_bytes(b"x")
    with pytest.raises(UsageError, match=rf"holds a\{files[name].suffix}, b\{files[name].suffix} of "):
        ENCODERS[name].build(EncoderOptions(weights=str(tmp_path)))
