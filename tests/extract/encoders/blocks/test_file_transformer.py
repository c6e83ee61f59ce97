"""What holds for every encoder over a transformer in one file, on tiny random networks in the published layouts."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_transformer_samples import MODULES, NETWORKS, build, save
from patch_samples import relative, save_random_weights, speech

from emofuse.common.errors import DataError, UsageError
from emofuse.extract.encoders.networks import relative_attention
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions

NAMES = sorted(MODULES)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    import torch

    torch.set_num_threads(1)
    return {name: save(tmp_path_factory.mktemp(name), name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_an_utterance_is_encoded_equally_alone_and_in_a_batch(name: str, files: dict[str, Path]) -> None:
    encoder = build(files[name], name, layers="all")
    clips = [speech(n, seed) for seed, n in enumerate((9000, 40000, 401, 16000, 9000))]
    for clip, batched in zip(clips, encoder.encode(clips), strict=True):
        alone = encoder.encode([clip])[0]
        assert batched.shape == alone.shape == (encoder.length(len(clip)), 4, 32)
        assert batched.flags.owndata
        assert relative(batched, alone) <= 1e-5
        assert relative(encoder.encode([clip, 3 * speech(33000, 9)])[0], alone) <= 1e-5
    assert encoder.encode([]) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("samples", [1, 399, 400, 719, 720, 2799, 2800, 5359, 5360, 16000, 31999])
def test_length_tells_what_encode_returns(name: str, samples: int, files: dict[str, Path]) -> None:
    encoder = build(files[name], name)
    frames = encoder.encode([speech(samples)])[0]
    assert frames.shape == (encoder.length(samples), 32)
    assert len(frames) >= 1
    assert np.isfinite(frames).all()
    assert encoder.frame_rate == {"emotion2vec": 50.0, "beats": 6.25}[name]
    assert np.isfinite(encoder.encode([np.zeros(samples, np.float32)])[0]).all()


@pytest.mark.parametrize("name", NAMES)
def test_layers_agree_with_each_other(name: str, files: dict[str, Path]) -> None:
    clip = [speech(9000)]
    encoders = {layers: build(files[name], name, layers=layers) for layers in ("all", "last", "mean", "2", "3,1")}
    frames = {layers: e.encode(clip)[0] for layers, e in encoders.items()}
    assert [e.layers for e in encoders.values()] == [(0, 1, 2, 3), (), (), (), (3, 1)]
    for layers, encoder in encoders.items():
        every = encoder.with_all_layers().encode(clip)[0]
        np.testing.assert_allclose(every, frames["all"], atol=1e-6)
        np.testing.assert_allclose(encoder.select_layers(every), frames[layers], atol=1e-6)
    assert encoders["last"].identity() == build(files[name], name, layers="3").identity()
    assert len({json.dumps(e.identity()) for e in encoders.values()}) == 5
    with pytest.raises(UsageError, match="expected last, all, mean or different numbers from 0 to 3"):
        build(files[name], name, layers="4")


@pytest.mark.parametrize("name", NAMES)
def test_queries_are_attended_in_blocks_that_change_nothing(
    name: str, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, clips = build(files[name], name), [speech(n, n) for n in (30000, 9000)]
    whole = encoder.encode(clips)
    monkeypatch.setattr(relative_attention, "_ROWS", 4)
    for blocks, expected in zip(encoder.encode(clips), whole, strict=True):
        assert relative(blocks, expected) <= 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_bf16_is_near_fp32_and_another_feature(name: str, files: dict[str, Path]) -> None:
    fine, coarse = build(files[name], name), build(files[name], name, precision="bf16")
    a, b = fine.encode([speech(9000)])[0], coarse.encode([speech(9000)])[0]
    assert 1e-5 < relative(b, a) < 0.15
    assert b.dtype == np.float32
    assert fine.identity() != coarse.identity()


@pytest.mark.parametrize("name", NAMES)
def test_identity_follows_the_weights_not_their_place(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    identity = build(files[name], name).identity()
    (tmp_path / "moved").mkdir()
    moved = tmp_path / "moved" / "weights.pt"
    moved.write_bytes(files[name].read_bytes())
    assert build(moved, name).identity() == build(moved.parent, name).identity() == identity
    assert build(save(tmp_path, name, seed=1), name).identity() != identity
    assert json.loads(json.dumps(identity)) == identity


@pytest.mark.parametrize("name", NAMES)
def test_finetune_gets_the_mean_of_what_is_stored_and_saves_what_is_read(
    name: str, files: dict[str, Path], tmp_path: Path
) -> None:
    import torch

    encoder, clips = build(files[name], name), [speech(9000), speech(20000, 1)]
    stored = encoder.encode(clips)
    tuning = encoder.tuning()
    assert [block.name for block in tuning.blocks] == ["front end", "layer 1", "layer 2", "layer 3"]
    assert sum(len(b.parameters) for b in tuning.blocks) == len(list(tuning.module.parameters()))
    pooled = tuning.pooled(clips)
    np.testing.assert_allclose(pooled.detach(), [frames.mean(axis=0) for frames in stored], atol=1e-5)
    pooled.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for block in tuning.blocks for p in block.parameters[:1])
    with torch.no_grad():
        tuning.blocks[3].parameters[0].add_(0.1)
    tuning.save(tmp_path, {"fitted_on": [{"corpus": "emodb", "labels": True}]})
    again = build(tmp_path, name)
    np.testing.assert_array_equal(again.encode(clips)[1], encoder.encode(clips)[1])
    assert relative(again.encode(clips)[1], stored[1]) > 1e-4
    assert again.provenance()["fitted_on"] == [{"corpus": "emodb", "labels": True}]


@pytest.mark.parametrize("name", NAMES)
def test_missing_and_foreign_weights_are_explained(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    source = {"emotion2vec": "huggingface.co/emotion2vec", "beats": "microsoft/unilm"}[name]
    with pytest.raises(UsageError, match=f"encoder {name} has no default weights: download .*{source}"):
        ENCODERS[name].build(EncoderOptions())
    other = next(n for n in NAMES if n != name)
    with pytest.raises(UsageError, match=rf"encoder {name} expects .* missing from the file; .* weights of {other}"):
        build(files[other], name)
    with pytest.raises(UsageError, match="these look like weights of trill"):
        build(save_random_weights(tmp_path, "trill"), name)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_tensor_and_a_wrong_shape_are_named(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    import torch

    content = torch.load(files[name], weights_only=False)
    layer = {"emotion2vec": "blocks.0.mlp.fc2", "beats": "encoder.layers.1.fc2"}[name]
    for change, message in (("shape", "of shape 32 x 48, found 32 x 7"), ("missing", "which is missing from the file")):
        model: dict[str, Any] = {**content["model"], f"{layer}.weight": torch.zeros(32, 7)}
        if change == "missing":
            del model[f"{layer}.weight"]
        torch.save({**content, "model": model}, tmp_path / "w.pt")
        with pytest.raises(UsageError, match=rf"expects {layer}\.weight of .*{message}|{layer}.*{message}"):
            build(tmp_path / "w.pt", name)


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("name", NAMES)
def test_pickled_code_is_never_run(name: str, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(pickle.dumps({"model": Evil(tmp_path / "mark")}, protocol=2))
    with pytest.raises(DataError, match="holds pickled code or is damaged; only plain tensors are read"):
        build(tmp_path / "w.pt", name)
    assert not (tmp_path / "mark").exists()


def test_the_published_sizes_are_the_defaults() -> None:
    sizes = {name: type(network)() for name, network in NETWORKS.items()}
    assert {name: (n.dimension, n.depth, n.heads) for name, n in sizes.items()} == {
        "emotion2vec": (768, 12, 12),
        "beats": (768, 12, 12),
    }
