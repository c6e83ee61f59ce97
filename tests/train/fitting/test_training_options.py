"""The optional settings of a training: schedules, averages, early stopping, clipping; off, they change no bit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import train_samples as samples
from torch import Tensor

from emofuse.store import FeatureStore
from emofuse.train.data.batches import TaskData
from emofuse.train.data.loader import Loader
from emofuse.train.fitting import loop, schedule
from emofuse.train.fitting.averaging import WeightAverage
from emofuse.train.fitting.model_file import ModelRecipe
from emofuse.train.fitting.step import Stepper
from emofuse.train.models.config import Config
from emofuse.train.models.mcfn_layers import MaskedBatchNorm
from emofuse.train.resolve.make_plan import resolve
from emofuse.train.runs.fit_context import model_recipe

CPU = torch.device("cpu")
TRAIN, VALIDATION, NONE = np.arange(0, 32), np.arange(32, 48), np.zeros(0, np.int64)
Prepared = tuple[ModelRecipe, TaskData]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("options")
    samples.store(made / "tiny.h5")
    samples.protocol_file(made)
    return made


def prepared(folder: Path, model: str = "linear", **settings: Any) -> Prepared:
    with FeatureStore(folder / "tiny.h5") as store:
        plan = resolve(store, samples.config(folder, "run", model, settings=(), audio="logmel"))
        recipe, data = model_recipe(plan), Loader(plan).task_data(plan.folds[0])
    given = {"lr": 0.01, "batch": 8, "steps": 20, "epochs": 0.0} | settings
    return replace(recipe, settings=samples.shrunk(recipe.settings, **given)), data.with_statistics_of(TRAIN)


def trained(recipe: ModelRecipe, data: TaskData, validation: Any = VALIDATION, **options: Any) -> loop.TrainingResult:
    job = loop.TrainingJob(recipe=recipe, data=data, training=TRAIN, validation=validation, metric="ua", seed=0)
    return loop.train(job, **options)


def plain_steps(recipe: ModelRecipe, data: TaskData) -> Iterator[dict[str, Tensor]]:
    """The weights after each step of a training that is written out: Adam, and none of the optional settings."""
    torch.manual_seed(0)
    model, settings = recipe.build().train(), recipe.settings
    optimiser = torch.optim.Adam(model.parameters(), settings.lr, weight_decay=settings.weight_decay, fused=True)
    generator = torch.Generator().manual_seed(0)
    batches = data.training_batches(TRAIN, settings.batch, np.random.default_rng(0))
    for step, indices in enumerate(islice(batches, settings.steps)):
        batch = data.batch(indices)
        frames, words = (0 if x is None else x.shape[1] for x in (batch.inputs[0], batch.inputs[2]))
        draws = model.draw(len(indices), frames, words, generator)
        optimiser.zero_grad()
        outputs = model(*batch.inputs, draws=draws, progress=step / settings.steps)
        model.loss(outputs, batch.labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        yield {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same(model: torch.nn.Module, weights: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("model", ["linear", "concat", "smcn", "mcfn", "msmser"])
def test_without_options_the_weights_are_those_of_plain_adam_to_the_last_bit(folder: Path, model: str) -> None:
    recipe, data = prepared(folder, model, steps=4)
    *_, last = plain_steps(recipe, data)
    assert same(trained(recipe, data, NONE).model, last)


@pytest.mark.parametrize(
    ("option", "value"),
    [("optimiser", "adamw"), ("schedule", "cosine"), ("warmup", 0.5), ("clip", 0.01), ("ema", 0.9), ("swa", 0.5),
     ("label_smoothing", 0.1), ("focal", 2.0), ("logit_adjustment", 1.0), ("mixup", 0.4), ("modality_dropout", 0.5),
     ("mask_time", 0.5), ("mask_features", 0.5)],
)  # fmt: skip
def test_every_option_changes_the_weights(folder: Path, option: str, value: Any) -> None:
    recipe, data = prepared(folder, "concat", steps=4, weight_decay=0.1)
    *_, last = plain_steps(recipe, data)
    data = replace(data, labels=torch.where(data.labels == 3, 0, data.labels)) if option == "logit_adjustment" else data
    changed = replace(recipe, settings=replace(recipe.settings, **{option: value}))
    assert not same(trained(changed, data, NONE).model, last)


def rates(**settings: Any) -> list[float]:
    return [schedule.learning_rate(Config(lr=1.0, steps=10, **settings), step, 10) for step in range(1, 11)]


def test_learning_rates_by_hand() -> None:
    assert rates() == [1.0] * 10
    assert rates(schedule="linear") == pytest.approx([1 - k / 10 for k in range(10)])
    assert rates(schedule="cosine") == pytest.approx([(1 + math.cos(math.pi * k / 10)) / 2 for k in range(10)])
    assert rates(warmup=0.4) == pytest.approx([0.25, 0.5, 0.75, *[1.0] * 7])
    warmed = rates(warmup=0.4, schedule="cosine")
    assert warmed == pytest.approx([0.25, 0.5, 0.75, 1.0, *((1 + math.cos(math.pi * k / 6)) / 2 for k in range(6))])


def test_a_plateau_is_two_evaluations_in_a_row_that_are_not_better() -> None:
    assert schedule.plateaus([]) == schedule.plateaus([0.5]) == schedule.plateaus([0.5, 0.4]) == 0
    assert schedule.plateaus([0.5, 0.4, 0.5]) == 1
    assert schedule.plateaus([0.5, 0.4, 0.6, 0.6]) == 0
    assert schedule.plateaus([0.5, 0.5, 0.5, 0.5, 0.5]) == 2


def test_the_rate_is_in_the_history_and_falls_after_flat_validation(folder: Path) -> None:
    done = trained(*prepared(folder, lr=1e-9, schedule="plateau"))
    assert [row["lr"] for row in done.history] == [1e-9 / 2**n for n in (0, 0, 0, 1, 1, 2, 2, 3, 3, 4)]
    cosine = trained(*prepared(folder, schedule="cosine")).history
    assert cosine[-1]["lr"] == pytest.approx(0.01 * (1 + math.cos(math.pi * 0.95)) / 2)
    assert "lr" not in trained(*prepared(folder)).history[0]


def test_clipping_bounds_the_norm_of_the_whole_gradient(folder: Path) -> None:
    def norm(clip: float) -> float:
        recipe, data = prepared(folder, "concat", clip=clip)
        stepper = Stepper(recipe, CPU, 0)
        stepper.step(data, TRAIN, 0.0)
        gradients = [p.grad.flatten() for p in stepper.model.parameters() if p.grad is not None]
        return float(torch.cat(gradients).norm())

    free = norm(0)
    assert norm(free / 2) == pytest.approx(free / 2, rel=1e-4)
    assert norm(free * 2) == pytest.approx(free)


@pytest.mark.parametrize("setting", [{"ema": 0.8}, {"swa": 0.25}])
def test_averaged_weights_by_hand_are_the_ones_that_are_kept(folder: Path, setting: dict[str, float]) -> None:
    recipe, data = prepared(folder, "concat")
    after = list(plain_steps(recipe, data))
    torch.manual_seed(0)
    expected = {name: tensor.double() for name, tensor in recipe.build().state_dict().items()}
    for step, weights in enumerate(after, 1):
        decay = min(0.8, (1 + step) / (10 + step))
        expected = {n: decay * expected[n] + (1 - decay) * weights[n].double() for n in weights}
    if "swa" in setting:
        expected = {n: torch.stack([w[n].double() for w in after[15:]]).mean(0) for n in after[0]}
    recipe = replace(recipe, settings=replace(recipe.settings, **setting))
    done = trained(recipe, data, NONE)
    for name, tensor in done.model.state_dict().items():
        torch.testing.assert_close(tensor.double(), expected[name], rtol=1e-5, atol=1e-7)


def test_before_its_first_step_swa_evaluates_the_weights_themselves(folder: Path) -> None:
    recipe, data = prepared(folder, "concat")
    plain = trained(recipe, data)
    averaged = trained(replace(recipe, settings=replace(recipe.settings, swa=0.25)), data)
    equal = [a["validation_loss"] == b["validation_loss"] for a, b in zip(plain.history, averaged.history, strict=True)]
    # The average begins at step 16, whose weights it has then.
    assert equal == [True] * 8 + [False] * 2


def test_averaged_weights_have_batch_norm_statistics_of_their_own(folder: Path) -> None:
    recipe, data = prepared(folder, "mcfn")
    stepper = Stepper(recipe, CPU, 0)
    average = WeightAverage(stepper.model, replace(recipe.settings, ema=0.9), 20)
    stepper.step(data, TRAIN[:8], 0.0)
    average.update(1)
    before = {name: tensor.clone() for name, tensor in stepper.model.state_dict().items()}
    norm = next(m for m in stepper.model.modules() if isinstance(m, MaskedBatchNorm))
    seen: list[Tensor] = []

    def note(module: Any, inputs: tuple[Tensor, Tensor]) -> None:
        x, mask = inputs
        seen.append(x.transpose(1, 2)[mask].mean(0))

    hook = norm.register_forward_pre_hook(note)
    with average.applied(1, [data.batch(TRAIN[:16]), data.batch(TRAIN[16:])]):
        assert len(seen) == 2
        torch.testing.assert_close(norm.running_mean, (seen[0] + seen[1]) / 2)
        assert torch.equal(dict(stepper.model.named_parameters())[name_of(before)], average.weights[name_of(before)])
    hook.remove()
    assert same(stepper.model, before)
    assert norm.momentum == 0.1


def name_of(state: dict[str, Tensor]) -> str:
    return next(iter(state))


def test_training_stops_after_as_many_evaluations_without_a_better_one(folder: Path) -> None:
    recipe, data = prepared(folder, lr=1e-9, patience=3)
    steps: list[int] = []
    done = trained(recipe, data, on_step=lambda step, note: steps.append(step))
    assert [row["step"] for row in done.history] == [2, 4, 6, 8]
    assert (done.step, done.stopped) == (2, 8)
    assert steps == [*range(1, 21)], "the progress reaches its end"
    assert trained(recipe, data, NONE).stopped is None, "a final model trains without validation"
    assert trained(*prepared(folder, patience=10)).stopped is None
