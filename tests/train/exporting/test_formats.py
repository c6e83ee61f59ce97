"""Every registered model in every format gives what PyTorch gives, for any batch size and lengths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import train_samples as samples
from torch import Tensor

from emofuse.common.disk import tensor_file
from emofuse.common.errors import DataError
from emofuse.manifests.metrics import calibration
from emofuse.train.data.batches import Statistics, TaskData
from emofuse.train.data.ragged import RaggedModality
from emofuse.train.exporting.exported_model import ExportedMember, ExportedModel, with_temperature
from emofuse.train.exporting.formats import safetensors_format
from emofuse.train.exporting.formats.registry import FORMATS
from emofuse.train.fitting import model_file
from emofuse.train.fitting.loop import predict
from emofuse.train.fitting.model_file import ModelRecipe
from emofuse.train.models.base import Inputs
from emofuse.train.models.config import longest_input
from emofuse.train.models.registry import MODELS

DIMENSION, LAYERS = {"audio": 6, "text": 5}, 3
SHAPES = ((3, 7), (1, 1), (5, 13), (2, 40))
"""(utterances, frames of the longest one); the first is the exporter's example."""
STACKS = ("encoder_layers", "cross_layers", "self_layers")
"""Settings for the number of layers that are equal to each other."""
QUICK_IN_ONNX = ("text", "weighted-layers")


def modalities_of(name: str) -> tuple[str, ...]:
    return MODELS[name].modalities[:1] if MODELS[name].needs == "one" else MODELS[name].modalities


def recipe_of(name: str) -> ModelRecipe:
    """A small model that reads fewer frames and words than the longest batch has."""
    spec, used = MODELS[name], modalities_of(name)
    limits = {"max_frames": 20, "max_words": 11} if hasattr(spec.preset("iemocap"), "max_frames") else {}
    settings = samples.shrunk(spec.preset("iemocap"), **limits)
    settings = replace(settings, **{stack: 2 for stack in STACKS if getattr(settings, stack, 0) > 2})
    sizes = {m: DIMENSION[m] * (2 if spec.pool == "mean+deviation" else 1) for m in used}
    layers = LAYERS if spec.layered else 0
    inputs = Inputs(audio=sizes.get("audio"), text=sizes.get("text"), layers=layers, classes=4)
    return ModelRecipe(model=name, settings=settings, inputs=inputs, classes=samples.CLASSES)


def member(name: str, seed: int = 0, temperature: float = 1.0) -> ExportedMember:
    """A model with random weights, which standardises every input by random statistics."""
    recipe = recipe_of(name)
    torch.manual_seed(seed)
    statistics: Statistics = {m: (torch.randn(d), torch.rand(d) + 0.5) for m, d in recipe.inputs.dimensions.items()}
    return ExportedMember(recipe.build().eval(), recipe, statistics, temperature)


def about(name: str, members: list[ExportedMember]) -> dict[str, Any]:
    """What rebuilds members from a file."""
    temperatures = [{"temperature": m.temperature} for m in members]
    return {"recipe": model_file.describe(recipe_of(name)), "models": temperatures}


def batch(name: str, count: int, time: int, garbage: float = 0.0) -> list[Tensor]:
    """Inputs of an exported model, with different lengths of the modalities; `garbage` is on the padding."""
    generator = torch.Generator().manual_seed(count)
    found = []
    for number, modality in enumerate(modalities_of(name)):
        frames = time + number
        lengths = torch.randint(1, frames + 1, (count,), generator=generator)
        lengths[0] = frames
        shape = (count, frames, *((LAYERS,) if MODELS[name].layered else ()), DIMENSION[modality])
        x = torch.randn(shape, generator=generator)
        for row, length in zip(x, lengths.tolist(), strict=True):
            row[length:] = garbage
        found += [x, lengths]
    return found


CASES = [
    pytest.param(
        entry.name,
        format,
        id=f"{entry.name}-{format}",
        marks=[pytest.mark.slow] if format == "onnx" and entry.name not in QUICK_IN_ONNX else [],
    )
    for entry in MODELS
    if entry.value.context is None  # `export` refuses those that read dialogues
    for format in FORMATS.names()
]


@pytest.mark.parametrize(("name", "format"), CASES)
def test_a_model_gives_in_any_format_what_it_gives_in_pytorch(name: str, format: str, tmp_path: Path) -> None:
    chosen, members = FORMATS[format], [member(name, seed) for seed in (0, 1)]
    exported = ExportedModel(members).eval()
    chosen.write(tmp_path / chosen.file, exported, batch(name, *SHAPES[0]), about(name, members))
    run = chosen.open(tmp_path / chosen.file)
    for shape in SHAPES:
        expected = exported(*batch(name, *shape))[0].detach().numpy()
        for garbage in (0.0, float("nan")):
            (found,) = run(batch(name, *shape, garbage))
            assert found.shape == (shape[0], 4)
            assert np.abs(found - expected).max() < 1e-5, (shape, garbage)


@pytest.mark.parametrize("name", [entry.name for entry in MODELS if entry.value.context is None])
def test_an_exported_model_prepares_its_inputs_as_training_does(name: str) -> None:
    """Against the training code's own gathering: cut, pooled, standardised, padded."""
    made, spec = member(name), MODELS[name]
    inputs = batch(name, 6, 30)
    modalities = {}
    for modality, x, lengths in zip(modalities_of(name), inputs[::2], inputs[1::2], strict=True):
        limit = longest_input(recipe_of(name).settings, modality)
        pieces = [row[: min(length, limit or length)] for row, length in zip(x, lengths.tolist(), strict=True)]
        if spec.pool != "frames":
            wide = [piece.double() for piece in pieces]
            deviations = [[p.std(0, correction=0)] if spec.pool == "mean+deviation" else [] for p in wide]
            pieces = [torch.cat([p.mean(0), *d], -1).float()[None] for p, d in zip(wide, deviations, strict=True)]
        sizes = torch.tensor([len(piece) for piece in pieces])
        modalities[modality] = RaggedModality(values=torch.cat(pieces), starts=sizes.cumsum(0) - sizes, lengths=sizes)
    data = TaskData(modalities=modalities, labels=torch.zeros(6, dtype=torch.int64), statistics=made.statistics())
    expected = predict(made.model, data, np.arange(6))[0]
    found = ExportedModel([made])(*inputs)[0].detach().numpy()
    assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("format", FORMATS.names())
def test_a_model_with_a_temperature_has_two_outputs(format: str, tmp_path: Path) -> None:
    chosen, members = FORMATS[format], [member("text", seed, temperature) for seed, temperature in ((0, 2.0), (1, 0.5))]
    exported = ExportedModel(members).eval()
    chosen.write(tmp_path / chosen.file, exported, batch("text", *SHAPES[0]), about("text", members))
    own, calibrated = chosen.open(tmp_path / chosen.file)(batch("text", 4, 9))
    each = [m(dict(zip(exported.inputs, batch("text", 4, 9), strict=True))).detach() for m in members]
    assert np.allclose(own, torch.stack(each).mean(0), atol=1e-6)
    powers = [p.pow(1 / m.temperature) for p, m in zip(each, members, strict=True)]
    expected = torch.stack([p / p.sum(1, keepdim=True) for p in powers]).mean(0)
    assert np.allclose(calibrated, expected, atol=1e-6)
    assert np.abs(calibrated - own).max() > 1e-3
    assert exported.outputs == ["probabilities", "calibrated_probabilities"]


def test_temperatures_scale_very_small_probabilities_as_the_run_does() -> None:
    values = torch.tensor([[1.0, 1e-25, 1e-20], [0.5, 0.5, 0.0]])
    found = with_temperature(values, 4.0).numpy()
    np.testing.assert_allclose(found, calibration.with_temperature(values.numpy(), 4.0), rtol=1e-4)
    assert found[0, 1] == pytest.approx(5.6e-7, rel=0.01)


def test_a_temperature_keeps_probabilities_of_zero_finite() -> None:
    found = with_temperature(torch.tensor([[1.0, 0.0]]), 2.0)
    assert found.isfinite().all()
    assert found.sum() == pytest.approx(1)


def test_another_file_is_not_an_exported_model(tmp_path: Path) -> None:
    tensor_file.write(tmp_path / "model.safetensors", {"0/w": torch.ones(2)}, {"format": "other"})
    with pytest.raises(DataError, match=r"not an exported model.*emofuse export"):
        safetensors_format.load(tmp_path / "model.safetensors")
    (tmp_path / "pickle.safetensors").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(DataError, match="cannot be read"):
        safetensors_format.load(tmp_path / "pickle.safetensors")
