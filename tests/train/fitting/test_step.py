"""A step in micro-batches, as memory does not suffice for the batch, is the same step."""

from __future__ import annotations

import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import train_samples as samples
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from emofuse.common.errors import UsageError
from emofuse.store import FeatureStore
from emofuse.train.data.batches import Batch, TaskData
from emofuse.train.data.loader import Loader
from emofuse.train.data.ragged import Indices
from emofuse.train.fitting.step import Stepper
from emofuse.train.models.blocks import layers
from emofuse.train.models.registry import MODELS
from emofuse.train.resolve.make_plan import resolve
from emofuse.train.runs.fit_context import model_recipe, resolved

CPU = torch.device("cpu")
SOME = np.arange(16)


class Small(TaskData):
    """Data of which only a few utterances fit in memory at once."""

    most: int = 5

    def batch(self, indices: Indices) -> Batch:
        if len(indices) > self.most:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")
        return super().batch(indices)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, TaskData]:
    folder = tmp_path_factory.mktemp("step")
    samples.store(folder / "tiny.h5")
    samples.protocol_file(folder)
    asked = samples.config(folder, "run", "concat")
    with FeatureStore(folder / "tiny.h5") as store:
        plan = resolve(store, asked)
        return model_recipe(plan), Loader(plan).task_data(plan.folds[0]).with_statistics_of(SOME)


def small(corpus: TaskData, most: int) -> Small:
    found = Small(
        modalities=corpus.modalities,
        labels=corpus.labels,
        standardised=corpus.standardised,
        statistics=corpus.statistics,
    )
    object.__setattr__(found, "most", most)
    return found


@pytest.mark.parametrize("options", [{}, {"mixup": 0.4, "modality_dropout": 0.4, "mask_time": 0.4, "clip": 0.1}])
def test_micro_batches_make_the_same_step(
    prepared: tuple[Any, TaskData], capsys: pytest.CaptureFixture[str], options: dict[str, float]
) -> None:
    recipe, corpus = prepared
    recipe = replace(recipe, settings=replace(recipe.settings, **options))
    whole, pieces = Stepper(recipe, CPU, 0), Stepper(recipe, CPU, 0)
    for _ in range(3):
        expected = whole.step(corpus, SOME, 0.5)
        found = pieces.step(small(corpus, 5), SOME, 0.5)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        # Gradients, not weights: Adam divides a gradient near zero by its own size, which magnifies rounding errors.
        for one, other in zip(pieces.model.parameters(), whole.model.parameters(), strict=True):
            assert one.grad is not None
            assert other.grad is not None
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6)
    assert pieces.micro_batch == 4
    assert capsys.readouterr().err.splitlines() == [
        "16 utterances at once do not fit in memory: continuing with micro-batches of 8, whose gradients add up to "
        "the same batch",
        "8 utterances at once do not fit in memory: continuing with micro-batches of 4, whose gradients add up to "
        "the same batch",
    ]


def test_batch_norm_counts_a_batch_once_however_often_it_was_tried(prepared: tuple[Any, TaskData]) -> None:
    recipe, corpus = prepared
    stepper = Stepper(recipe, CPU, 0)
    norm = torch.nn.BatchNorm1d(4)
    stepper.model.register_module("norm", norm)
    forward = stepper.model.forward

    def seeing(*inputs: Any, **more: Any) -> Any:
        found = forward(*inputs, **more)
        norm(found.logits)
        if len(found.logits) > 8:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return found

    stepper.model.forward = seeing  # type: ignore[method-assign]
    stepper.step(corpus, SOME, 0.5)
    assert int(norm.num_batches_tracked) == 2


def test_not_even_a_single_utterance(prepared: tuple[Any, TaskData]) -> None:
    recipe, corpus = prepared
    with pytest.raises(UsageError, match="not even a single utterance fits in memory"):
        Stepper(recipe, CPU, 0).step(small(corpus, 0), SOME, 0.5)


def test_other_errors_stay_what_they_are(prepared: tuple[Any, TaskData]) -> None:
    recipe, corpus = prepared
    broken = TaskData(modalities=corpus.modalities, labels=corpus.labels[:3], statistics=corpus.statistics)
    with pytest.raises(IndexError):
        Stepper(recipe, CPU, 0).step(broken, SOME, 0.5)


def test_bf16_is_close_to_fp32_and_is_another_run(prepared: tuple[Any, TaskData]) -> None:
    recipe, corpus = prepared
    exact, reduced = Stepper(recipe, CPU, 0), Stepper(recipe, CPU, 0, precision="bf16")
    losses = [[float(s.step(corpus, SOME, 0.5)) for _ in range(5)] for s in (exact, reduced)]
    assert losses[0] != losses[1]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.02)
    assert all(p.dtype == torch.float32 for p in reduced.model.parameters())


def test_precision_is_part_of_a_run_and_tf32_a_gpus(tmp_path: Path) -> None:
    samples.store(tmp_path / "tiny.h5")
    samples.protocol_file(tmp_path)
    with resolved(samples.config(tmp_path, "a", "smcn")) as plan:
        plain = plan.identity()
    with resolved(samples.config(tmp_path, "b", "smcn", precision="bf16")) as plan:
        assert plan.identity() == plain | {"precision": "bf16"}
    with (
        pytest.raises(UsageError, match="--precision tf32 needs a GPU, and the device is cpu"),
        resolved(samples.config(tmp_path, "c", "smcn", precision="tf32")),
    ):
        pass


def test_every_recurrent_model_trains_in_bf16(tmp_path: Path) -> None:
    samples.store(tmp_path / "tiny.h5")
    samples.protocol_file(tmp_path)
    for model in ("smcn", "tfn", "cme"):
        asked = samples.config(tmp_path, model, model, precision="bf16", steps=3, folds="1", audio="logmel")
        assert (samples.quietly(asked) / "metrics.json").exists()


class HostReads(TorchDispatchMode):
    """Records what makes the host wait for a GPU: reading a value, or a shape that depends on values."""

    waiting = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "_unique2", "is_nonzero", "equal")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in self.waiting:
            self.found.append("".join(traceback.format_stack(limit=12)))
        return func(*args, **(kwargs or {}))


OPTIONS = ("clip=1", "label_smoothing=0.1", "mixup=0.4", "modality_dropout=0.4", "mask_time=0.4", "mask_features=0.4")


@pytest.mark.parametrize(
    ("model", "options"), [*((model, ()) for model in MODELS.names()), ("concat", OPTIONS), ("concat", ("focal=2",))]
)
def test_no_step_makes_the_host_wait_for_a_gpu(
    model: str, options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_a_gpu(x: Tensor, lengths: Tensor, pairs: Any) -> list[Tensor]:
        found = []
        for pair in pairs:
            gru = layers.BiGRU(1, 1)
            gru.forwards, gru.backwards = pair
            found.append(gru.forward_torch(x, lengths))
        return found

    monkeypatch.setattr(layers, "bidirectional", on_a_gpu)
    samples.store(tmp_path / "tiny.h5")
    samples.protocol_file(tmp_path)
    audio = None if model == "text" else "hubert" if model == "weighted-layers" else "logmel"
    asked = samples.config(tmp_path, "run", model, settings=("batch=16", *options), audio=audio)
    with FeatureStore(tmp_path / "tiny.h5") as store:
        plan = resolve(store, asked)
        corpus = Loader(plan).task_data(plan.folds[0]).with_statistics_of(SOME)
        stepper = Stepper(model_recipe(plan), CPU, 0)
        stepper.step(corpus, SOME, 0.5)
        with HostReads() as reads:
            stepper.step(corpus, SOME, 0.5)
    assert not reads.found, reads.found[0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_no_copy_in_a_step_waits_for_a_gpu(tmp_path: Path) -> None:
    samples.store(tmp_path / "tiny.h5")
    samples.protocol_file(tmp_path)
    with FeatureStore(tmp_path / "tiny.h5") as store:
        plan = resolve(store, samples.config(tmp_path, "run", "smcn", device="cuda"))
        corpus = Loader(plan).task_data(plan.folds[0]).with_statistics_of(SOME)
        stepper = Stepper(model_recipe(plan), corpus.labels.device, 0)
        stepper.step(corpus, SOME, 0.5)
        torch.cuda.set_sync_debug_mode("error")
        try:
            stepper.step(corpus, SOME, 0.5)
        finally:
            torch.cuda.set_sync_debug_mode("default")
