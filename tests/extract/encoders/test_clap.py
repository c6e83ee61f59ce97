"""CLAP on a tiny random checkpoint with windows of 1 s: the library's own embeddings, windows, batches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from patch_samples import relative, speech

from emofuse.common.errors import UsageError
from emofuse.extract.audio.torchaudio_compat import import_transformers
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions

AUDIO: dict[str, Any] = {
    "spec_size": 64, "num_mel_bins": 16, "patch_embeds_hidden_size": 8, "depths": [2, 1], "num_attention_heads": [2, 2],
    "hidden_size": 16, "window_size": 4, "projection_dim": 8, "num_hidden_layers": 2, "aff_block_r": 2,
}  # fmt: skip
TEXT = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 20,
    "projection_dim": 8,
}  # fmt: skip
FUSION = {"enable_fusion": True, "fusion_type": "aff_2d"}
WINDOW = 48000


def save(folder: Path, fused: bool, seed: int = 0) -> Path:
    transformers = import_transformers()
    import torch

    torch.manual_seed(seed)
    config = transformers.ClapConfig(
        audio_config={**AUDIO, **(FUSION if fused else {})}, text_config=TEXT, projection_dim=8
    )
    model = transformers.ClapModel(config)
    with torch.no_grad():  # the library begins with embeddings of 1e-2
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    transformers.ClapFeatureExtractor(
        feature_size=16, max_length_s=1, truncation="fusion" if fused else "rand_trunc"
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=[False, True], ids=["unfused", "fused"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("clap"), request.param)


def build(folder: Path, **options: Any) -> Any:
    return ENCODERS["clap"].build(EncoderOptions(weights=str(folder), **options))


@pytest.mark.parametrize("layers", ["last", "projection"])
def test_an_utterance_is_encoded_equally_alone_and_in_a_batch(layers: str, folder: Path) -> None:
    encoder = build(folder, layers=layers)
    clips = [speech(n, seed) for seed, n in enumerate((5000, 130_000, 48_000, 401))]
    for clip, batched in zip(clips, encoder.encode(clips), strict=True):
        alone = encoder.encode([clip])[0]
        assert batched.shape == alone.shape == (encoder.length(len(clip)), encoder.dimension)
        assert relative(batched, alone) <= 1e-5
    assert encoder.encode([]) == []
    assert (encoder.dimension, encoder.frame_rate, encoder.sample_rate) == ({"last": 16}.get(layers, 8), 1.0, 48000)


@pytest.mark.parametrize("samples", [1, 47_999, 48_000, 48_001, 96_000, 96_001])
def test_length_tells_what_encode_returns(samples: int, folder: Path) -> None:
    encoder = build(folder)
    frames = encoder.encode([speech(samples)])[0]
    assert frames.shape == (-(-samples // WINDOW), 16)
    assert np.isfinite(frames).all()


def test_a_long_clip_is_read_in_windows_of_which_the_last_ends_with_it(folder: Path) -> None:
    encoder, clip = build(folder), speech(2 * WINDOW + 5000)
    expected = encoder.encode([clip[:WINDOW], clip[WINDOW : 2 * WINDOW], clip[-WINDOW:]])
    assert relative(encoder.encode([clip])[0], np.concatenate(expected)) <= 1e-5


def test_the_embedding_is_the_librarys_own(tmp_path: Path) -> None:
    import torch

    transformers = import_transformers()
    save(tmp_path, fused=False)
    model = transformers.ClapModel.from_pretrained(tmp_path).eval()
    inputs = transformers.ClapFeatureExtractor.from_pretrained(tmp_path)(
        speech(20_000), sampling_rate=48_000, return_tensors="pt"
    )
    with torch.inference_mode():
        found = model.get_audio_features(**inputs)
    shared = found.pooler_output if hasattr(found, "pooler_output") else found
    ours = build(tmp_path, layers="projection").encode([speech(20_000)])[0][0]
    assert relative(ours, shared[0].numpy()) <= 1e-5
    assert np.linalg.norm(ours) == pytest.approx(1, abs=1e-5)


def test_bf16_is_near_fp32_and_outputs_are_different_features(folder: Path) -> None:
    fine, coarse = build(folder), build(folder, precision="bf16")
    assert 1e-5 < relative(coarse.encode([speech(9000)])[0], fine.encode([speech(9000)])[0]) < 0.15
    encoders = (fine, coarse, build(folder, layers="projection"))
    assert len({json.dumps(e.identity()) for e in encoders}) == 3
    assert fine.provenance()["fitted_on"] == []


def test_other_outputs_and_other_models_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--layers is 'all', but encoder clap expects last or projection"):
        build(folder, layers="all")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "hubert"}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match="'hubert', but encoder clap expects 'clap'"):
        build(tmp_path)
