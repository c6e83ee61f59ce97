"""Speech transformers, on tiny checkpoints that go through the same code as the real ones."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_transformer_samples import NETWORKS
from patch_samples import MODULES
from tiny_speech_models import CASES, save

from emofuse.common.errors import DataError, UsageError
from emofuse.extract.audio.torchaudio_compat import import_transformers
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions

RATE = 16000
Build = Callable[..., Any]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    import torch

    torch.set_num_threads(1)
    return {case: save(tmp_path_factory.mktemp(case), case) for case in CASES}


@pytest.fixture(scope="module")
def build(folders: dict[str, Path]) -> Build:
    def _build(case: str, weights: Path | None = None, **options: str) -> Any:
        return ENCODERS[CASES[case][0]].build(EncoderOptions(weights=str(weights or folders[case]), **options))

    return _build


def speech(samples: int, seed: int = 0) -> np.ndarray:
    time = np.arange(samples) / RATE
    noise = np.random.default_rng(seed).normal(0, 0.02, samples)
    return (0.3 * np.sin(2 * np.pi * (120 + 30 * seed) * time) * np.sin(7 * time) + noise + 0.05).astype(np.float32)


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


def test_every_pretrained_speech_encoder_has_a_tiny_checkpoint_here() -> None:
    registered = {e.name for e in ENCODERS if e.value.modality == "audio" and e.value.pretrained}
    # Others are tested in test_clap.py, blocks/test_patch_encoder.py and blocks/test_file_transformer.py.
    assert {encoder for encoder, *_ in CASES.values()} | set(MODULES) | set(NETWORKS) | {"clap"} == registered


@pytest.mark.parametrize("case", CASES)
def test_an_utterance_is_encoded_equally_alone_and_in_a_batch(case: str, build: Build) -> None:
    encoder = build(case, layers="all")
    clips = [speech(n, seed) for seed, n in enumerate((5000, 16000, 401, 9999, 5000))]
    together = encoder.encode(clips)
    for clip, batched in zip(clips, together, strict=True):
        alone = encoder.encode([clip])[0]
        assert batched.shape == alone.shape == (encoder.length(len(clip)), 4, encoder.dimension)
        assert relative(batched, alone) <= 1e-5
        assert relative(encoder.encode([clip, 3 * speech(12000, 9)])[0], alone) <= 1e-5


@pytest.mark.parametrize("case", ["hubert", "wav2vec2", "wavlm"])
def test_the_librarys_own_mask_would_not_have_been_enough(case: str, folders: dict[str, Path]) -> None:
    import torch

    model = import_transformers().AutoModel.from_pretrained(folders[case]).eval()
    short, long = torch.from_numpy(speech(6000)), 3 * torch.from_numpy(speech(16000, 1))
    batch = torch.stack([torch.nn.functional.pad(short, (0, 10000)), long])
    mask = torch.ones_like(batch, dtype=torch.long)
    mask[0, 6000:] = 0
    with torch.inference_mode():
        alone = model(short[None]).last_hidden_state[0]
        batched = model(batch, attention_mask=mask).last_hidden_state[0, : len(alone)]
    assert relative(batched.numpy(), alone.numpy()) > 0.01


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("samples", [1, 399, 400, 401, 639, 640, 719, 720, 721, 4799, 16000, 31999, 32000, 32001])
def test_length_tells_what_encode_returns(case: str, samples: int, build: Build) -> None:
    encoder = _once(build, case)
    frames = encoder.encode([speech(samples)])[0]
    assert frames.shape == (encoder.length(samples), encoder.dimension)
    assert len(frames) >= 1
    assert frames.dtype == np.float32
    assert np.isfinite(frames).all()
    assert encoder.frame_rate == 50.0
    assert encoder.sample_rate == RATE


_built: dict[str, Any] = {}


def _once(build: Build, case: str) -> Any:
    return _built[case] if case in _built else _built.setdefault(case, build(case))


@pytest.mark.parametrize("case", [c for c in CASES if c != "whisper"])
def test_features_are_the_librarys_own_for_one_utterance(case: str, build: Build, folders: dict[str, Path]) -> None:
    import torch

    transformers = import_transformers()
    config = transformers.AutoConfig.from_pretrained(folders[case])
    config.add_adapter = False
    model = transformers.AutoModel.from_pretrained(folders[case], config=config).eval()
    values = transformers.AutoFeatureExtractor.from_pretrained(folders[case])(
        speech(8000), sampling_rate=RATE, return_tensors="pt"
    )["input_values"]
    with torch.inference_mode():
        output = model(values, output_hidden_states=True)
    every = build(case, layers="all").encode([speech(8000)])[0]
    assert relative(every[:, 3], output.last_hidden_state[0].numpy()) <= 1e-5
    for number in (0, 1, 2):
        assert relative(every[:, number], output.hidden_states[number][0].numpy()) <= 1e-5


@pytest.mark.parametrize("case", CASES)
def test_layers_agree_with_each_other(case: str, build: Build) -> None:
    clip = [speech(5000)]
    encoders = {layers: build(case, layers=layers) for layers in ("all", "last", "mean", "2", "3,1")}
    frames = {layers: e.encode(clip)[0] for layers, e in encoders.items()}
    axes = {layers: e.layers for layers, e in encoders.items()}
    assert axes == {"all": (0, 1, 2, 3), "last": (), "mean": (), "2": (), "3,1": (3, 1)}
    np.testing.assert_allclose(frames["last"], frames["all"][:, 3], atol=1e-6)
    np.testing.assert_allclose(frames["mean"], frames["all"].mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(frames["2"], frames["all"][:, 2], atol=1e-6)
    np.testing.assert_allclose(frames["3,1"], frames["all"][:, [3, 1]], atol=1e-6)
    assert encoders["last"].identity() == build(case, layers="3").identity()
    assert len({json.dumps(e.identity()) for e in encoders.values()}) == 5


@pytest.mark.parametrize("layers", ["4", "-1", "1,1", "first", "", "1,,2", "²"])
def test_layers_that_are_not_there_are_refused_with_those_that_are(layers: str, build: Build) -> None:
    with pytest.raises(UsageError, match=r"expected last, all, mean or different numbers from 0 to 3"):
        build("hubert", layers=layers)


@pytest.mark.parametrize("case", CASES)
def test_encoding_twice_gives_the_same_bits(case: str, build: Build) -> None:
    first, second = (build(case).encode([speech(5000), speech(900)]) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_bf16_is_near_fp32_and_another_feature(case: str, build: Build) -> None:
    fine, coarse = build(case), build(case, precision="bf16")
    a, b = fine.encode([speech(6000)])[0], coarse.encode([speech(6000)])[0]
    assert b.dtype == np.float32
    assert 1e-5 < relative(b, a) < 0.15
    assert fine.identity() != coarse.identity()


@pytest.mark.parametrize("case", CASES)
def test_identity_follows_weights_and_settings_not_places(case: str, build: Build, tmp_path: Path) -> None:
    identity = build(case).identity()
    assert build(case, save(tmp_path / "moved", case)).identity() == identity
    assert build(case, save(tmp_path / "other", case, seed=1)).identity() != identity
    config = json.loads((tmp_path / "moved" / "config.json").read_text())
    (tmp_path / "moved" / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-3}))
    assert build(case, tmp_path / "moved").identity() != identity
    assert json.loads(json.dumps(identity)) == identity


@pytest.mark.parametrize(("case", "follows"), [("hubert", False), ("wavlm", True)])
def test_normalisation_follows_the_checkpoint(case: str, follows: bool, build: Build) -> None:
    encoder, clip = build(case), speech(6000)
    louder = encoder.encode([0.5 * clip + 0.1])[0]
    # In the group-normed families only the padding-free offset tells: normalised input cancels it, raw input does not.
    assert (relative(louder, encoder.encode([clip])[0]) > 1e-3) == follows
    assert encoder.identity()["normalise"] == ("none" if follows else "zero mean, unit variance")


def test_a_silent_clip_gives_finite_frames(build: Build) -> None:
    for case in CASES:
        assert np.isfinite(_once(build, case).encode([np.zeros(3000, dtype=np.float32)])[0]).all()


def test_whisper_encodes_long_clips_piece_by_piece(build: Build) -> None:
    encoder, clip = build("whisper"), speech(2 * 32000 + 5000)
    whole = encoder.encode([clip])[0]
    pieces = encoder.encode([clip[:32000], clip[32000:64000], clip[64000:]])
    np.testing.assert_array_equal(whole, np.concatenate(pieces))
    assert len(whole) == 200 + 16


def test_whisper_reads_windows_that_end_with_the_clip(build: Build) -> None:
    """The tiny model has windows of 2 s; those of clips end at the next half second."""
    usual, encoder = build("whisper"), build("whisper", window="clip")
    clips = [speech(samples, n) for n, samples in enumerate((3000, 9000, 16001, 7900, 32000, 32000 + 500))]
    found = encoder.encode(clips)
    assert [len(frames) for frames in found] == [usual.length(len(clip)) for clip in clips]
    for clip, frames in zip(clips, found, strict=True):
        assert relative(encoder.encode([clip])[0], frames) < 1e-5
    padded = encoder.encode([np.pad(clips[0], (0, 8000 - 3000))])[0]
    assert relative(padded[: len(found[0])], found[0]) < 1e-5
    assert relative(found[4], usual.encode([clips[4]])[0]) < 1e-5
    assert relative(found[0], usual.encode([clips[0]])[0]) > 1e-3
    differing = {key for key, value in encoder.identity().items() if usual.identity().get(key) != value}
    assert differing == {"window"}


def test_a_failed_window_leaves_the_encoder_as_it_was(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = build("whisper", window="clip")
    before = encoder.encode([speech(9000)])[0]
    with monkeypatch.context() as patch:
        patch.setattr(type(encoder.pretrained), "run", lambda self, **inputs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            encoder.encode([speech(9000)])
    assert relative(encoder.encode([speech(9000)])[0], before) < 1e-6
    assert encoder.frame_rate == 50.0


def test_provenance_says_what_the_encoder_has_seen(build: Build, tmp_path: Path) -> None:
    known = build("hubert").provenance()
    assert known["fitted_on"] == []
    assert known["pretrained_on"].startswith("LibriSpeech 960 h")
    assert known["libraries"]["torch"]
    folder = save(tmp_path / "tuned", "hubert")
    config = json.loads((folder / "config.json").read_text())
    for head in ("HubertForSequenceClassification", "EmotionModel", "Wav2Vec2ForSpeechClassification"):
        (folder / "config.json").write_text(json.dumps({**config, "architectures": [head]}))
        about = f"the checkpoint's head is {head}"
        assert build("hubert", folder).provenance()["fitted_on"] == [
            {"corpus": "unknown", "labels": True, "about": about}
        ]


def test_another_kind_of_model_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="'wavlm', but encoder hubert expects 'hubert'"):
        ENCODERS["hubert"].build(EncoderOptions(weights=str(folders["wavlm"])))
    with pytest.raises(UsageError, match="reads no raw waveforms"):
        ENCODERS["hf-audio"].build(EncoderOptions(weights=str(folders["whisper"])))


def test_a_checkpoint_without_its_preprocessor_is_refused(build: Build, tmp_path: Path) -> None:
    for case in ("hubert", "whisper"):
        folder = save(tmp_path / case, case)
        (folder / "preprocessor_config.json").unlink()
        with pytest.raises(UsageError, match=r"has no preprocessor_config\.json"):
            build(case, folder)


@pytest.mark.parametrize("options", [{"precision": "fp8"}, {"device": "abacus"}, {"device": "cuda:99"}])
def test_precisions_and_devices_that_are_not_there_are_refused(options: dict[str, str], build: Build) -> None:
    with pytest.raises(UsageError, match=next(iter(options.values()))):
        build("hubert", **options)


def test_pytorch_bin_gives_the_same_features_as_safetensors(build: Build, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    folder = save(tmp_path / "bin", "hubert")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    np.testing.assert_array_equal(
        build("hubert", folder).encode([speech(5000)])[0], _once(build, "hubert").encode([speech(5000)])[0]
    )


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def test_pickled_code_is_never_run(build: Build, tmp_path: Path) -> None:
    folder = save(tmp_path / "evil", "hubert")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Evil(tmp_path / "mark")}, protocol=2))
    with pytest.raises(DataError, match="pickled code or is damaged"):
        build("hubert", folder)
    assert not (tmp_path / "mark").exists()
    pickle.loads((folder / "pytorch_model.bin").read_bytes())
    assert (tmp_path / "mark").exists(), "the file would have run code, had it been unpickled"


def test_damaged_and_incomplete_weights_are_distinguished_from_wrong_use(build: Build, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = save(tmp_path / "cut", "hubert")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"model\.safetensors is damaged"):
        build("hubert", folder)
    (folder / "model.safetensors").write_bytes(whole)
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("encoder.layers.1.attention.k_proj.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        DataError,
        match=r"does not contain 1 of the model's tensors, for example encoder\.layers\.1\.attention\.k_proj\.weight",
    ):
        build("hubert", folder)


def test_without_a_compiler_the_layers_run_eager(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(save(tmp_path / "hubert", "hubert"))
    waveform = np.random.default_rng(0).standard_normal(8000).astype("f4")
    eager = ENCODERS["hubert"].build(EncoderOptions(weights=folder))
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    asked = ENCODERS["hubert"].build(EncoderOptions(weights=folder, compile=True))
    assert "no C++ compiler found" in capsys.readouterr().err
    assert "compiled" not in asked.provenance()
    assert np.array_equal(asked.encode([waveform])[0], eager.encode([waveform])[0])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs g++")
def test_compiled_layers_give_the_same_values_for_every_length(tmp_path: Path) -> None:
    folder = str(save(tmp_path / "hubert", "hubert"))
    rng = np.random.default_rng(0)
    eager, compiled = (ENCODERS["hubert"].build(EncoderOptions(weights=folder, compile=c)) for c in (False, True))
    assert compiled.provenance()["compiled"] is True
    assert compiled.identity() == eager.identity()
    for lengths in ((8000,), (9000, 7000), (16000, 15000, 400)):
        waveforms = [rng.standard_normal(n).astype("f4") for n in lengths]
        for ours, theirs in zip(compiled.encode(waveforms), eager.encode(waveforms), strict=True):
            assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()
