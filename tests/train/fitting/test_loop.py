"""The training loop by itself: what it draws, what it selects, and what it passes to a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import train_samples as samples
from torch import Tensor, nn

from emofuse.manifests.metrics.scores import scores
from emofuse.store import FeatureStore
from emofuse.train.data.batches import TaskData
from emofuse.train.data.loader import Loader
from emofuse.train.data.ragged import RaggedModality
from emofuse.train.fitting import loop, model_file
from emofuse.train.fitting.model_file import ModelRecipe
from emofuse.train.models.base import FusionModel, Inputs, ModelSpec, Outputs
from emofuse.train.models.config import Config
from emofuse.train.models.registry import MODELS
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.make_plan import resolve
from emofuse.train.runs.fit_context import model_recipe

TRAIN, VALIDATION = np.arange(0, 32), np.arange(32, 48)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loop")
    samples.protocol_file(folder)
    return samples.store(folder / "tiny.h5")


def prepared(path: Path, model: str = "linear", **settings: Any) -> tuple[ModelRecipe, TaskData]:
    audio = None if model in ("text", "weighted-layers") else "logmel"
    protocol = str(path.parent / "tiny4.toml")
    with FeatureStore(path) as store:
        plan = resolve(store, FitConfig(store=path, model=model, protocol=protocol, audio=audio, device="cpu"))
        recipe, corpus = model_recipe(plan), Loader(plan).task_data(plan.folds[0])
    return replace(recipe, settings=replace(recipe.settings, **settings)), corpus.with_statistics_of(TRAIN)


def trained(
    recipe: ModelRecipe, data: TaskData, validation: Any = VALIDATION, keep_all: bool = False, **options: Any
) -> loop.TrainingResult:
    job = loop.TrainingJob(
        recipe=recipe, data=data, training=TRAIN, validation=validation, metric="ua", seed=0, keep_all=keep_all
    )
    return loop.train(job, **options)


def test_the_selected_weights_are_those_of_the_best_evaluation_step(path: Path) -> None:
    done = trained(*prepared(path, lr=0.05, steps=20), keep_all=True)
    values = [row["validation_ua"] for row in done.history]
    assert done.step == done.history[int(np.argmax(values))]["step"]
    assert sorted(done.checkpoints) == loop.evaluation_steps(20)
    for name, tensor in done.model.state_dict().items():
        assert torch.equal(tensor, done.checkpoints[done.step][name])


def test_validation_scores_at_the_selected_step_can_be_computed_again(path: Path) -> None:
    recipe, corpus = prepared(path, lr=0.05, steps=20)
    done = trained(recipe, corpus)
    probabilities, _ = loop.predict(done.model, corpus, VALIDATION)
    assert done.validation == scores(corpus.labels.numpy()[VALIDATION], probabilities.argmax(1))


def test_of_equal_scores_the_earlier_step_is_selected(path: Path) -> None:
    done = trained(*prepared(path, lr=1e-9, steps=20))
    assert len({row["validation_ua"] for row in done.history}) == 1
    assert done.step == 2


def test_without_validation_the_last_step_is_taken(path: Path) -> None:
    done = trained(*prepared(path, lr=0.05, steps=20), validation=np.zeros(0, np.int64), keep_all=True)
    assert (done.step, done.validation) == (20, None)
    assert all("validation_ua" not in row for row in done.history)


def test_validation_does_not_change_the_weights(path: Path) -> None:
    recipe, corpus = prepared(path, lr=0.05, steps=20)
    runs = [trained(recipe, corpus, v, keep_all=True).checkpoints for v in (VALIDATION, VALIDATION[:4], VALIDATION[:0])]
    for other in runs[1:]:
        assert all(torch.equal(runs[0][20][name], other[20][name]) for name in other[20])


def test_the_callers_random_state_is_unchanged(path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    trained(*prepared(path, steps=2))
    assert torch.equal(torch.rand(2), expected)


def test_every_step_is_reported(path: Path) -> None:
    steps: list[int] = []
    trained(*prepared(path, steps=7), on_step=lambda step, note: steps.append(step))
    assert steps == list(range(1, 8))


def test_the_training_loss_falls(path: Path) -> None:
    history = trained(*prepared(path, lr=0.05, steps=50)).history
    assert history[-1]["train_loss"] < 0.6 * history[0]["train_loss"]


def test_weight_decay_shrinks_weights(path: Path) -> None:
    norms = []
    for decay in (0.0, 1.0):
        done = trained(*prepared(path, lr=0.05, steps=40, weight_decay=decay), validation=VALIDATION[:0])
        norms.append(sum(p.norm().item() for p in done.model.parameters()))
    assert norms[1] < 0.7 * norms[0]


@pytest.mark.parametrize("count", [1, 5, 16])
def test_predictions_come_in_the_order_asked(path: Path, count: int) -> None:
    recipe, corpus = prepared(path)
    model = recipe.build()
    order = np.random.default_rng(0).permutation(64)[:count]
    probabilities, _ = loop.predict(model, corpus, order)
    for row, index in zip(probabilities, order, strict=True):
        np.testing.assert_allclose(row, loop.predict(model, corpus, np.array([index]))[0][0], atol=1e-6)
        assert row.sum() == pytest.approx(1, abs=1e-5)


class Watching(FusionModel):
    """Records what the loop passes to it; learns one bias."""

    seen: list[tuple[bool, float, Mapping[str, Tensor] | None]]

    def __init__(self, config: Config, inputs: Inputs) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.randn(inputs.classes))
        self.seen = []

    def draw(self, batch: int, frames: int, words: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"noise": torch.rand(batch, frames, generator=generator), "words": torch.tensor(words)}

    def forward(self, audio: Any, audio_lengths: Any, text: Any, text_lengths: Any, **more: Any) -> Outputs:
        self.seen.append((self.training, more.get("progress", 1.0), more.get("draws")))
        return Outputs(logits=self.bias.expand(len(audio), -1))


def test_a_model_gets_its_draws_and_the_progress_in_training_and_neither_in_evaluation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = ModelSpec(modalities=("audio",), features={"audio": "x"}, preset=lambda _: Config(), build=Watching)
    monkeypatch.setitem(MODELS._entries, "watching", type(next(iter(MODELS)))("watching", "for this test", spec))
    lengths = torch.full((48,), 3)
    side = RaggedModality(values=torch.zeros(144, 2), starts=torch.arange(48) * 3, lengths=lengths)
    corpus = TaskData(modalities={"audio": side}, labels=torch.arange(48) % 4).with_statistics({})
    recipe = ModelRecipe(
        model="watching", settings=Config(steps=4, batch=8), inputs=Inputs(audio=2, classes=4), classes=samples.CLASSES
    )
    runs = [trained(recipe, corpus).model for _ in range(2)]
    models = [m for m in runs if isinstance(m, Watching)]
    training = [[s for s in m.seen if s[0]] for m in models]
    assert [progress for _, progress, _ in training[0]] == [0.0, 0.25, 0.5, 0.75]
    assert all(draws is None for active, _, draws in models[0].seen if not active)
    for (_, _, one), (_, _, two) in zip(*training, strict=True):
        assert one is not None
        assert two is not None
        assert one["noise"].shape == (8, 3)
        assert torch.equal(one["noise"], two["noise"])
        assert one["words"] == 0
    noises = [draws["noise"] for _, _, draws in training[0] if draws is not None]
    assert not torch.equal(noises[0], noises[1])


@pytest.mark.parametrize("name", MODELS.names())
def test_a_checkpoint_of_every_model_comes_back_as_it_was(path: Path, tmp_path: Path, name: str) -> None:
    recipe, corpus = prepared(path, name)
    recipe = replace(recipe, settings=samples.shrunk(recipe.settings))
    model = recipe.build()
    assert corpus.statistics is not None
    for copy in ("one", "two"):
        model_file.save(tmp_path / f"{copy}.safetensors", recipe, model.state_dict(), corpus.statistics)
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    loaded, again, statistics = model_file.load(tmp_path / "one.safetensors")
    assert again == recipe
    assert set(statistics) == set(corpus.standardised)
    expected, _ = loop.predict(model, corpus, TRAIN)
    found, _ = loop.predict(loaded, corpus.with_statistics(statistics), TRAIN)
    np.testing.assert_array_equal(found, expected)
    assert not list(tmp_path.glob("*.part"))
