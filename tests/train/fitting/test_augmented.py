"""Augmented copies train, and nothing else: none reaches validation or test, and no copy of these sides trains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import train_samples as samples
from copy_samples import UTTERANCES, copy, store
from numpy.typing import NDArray
from train_samples import config, quietly, rows

from emofuse.common.errors import UsageError
from emofuse.manifests.schema import Utterance
from emofuse.store import FeatureStore
from emofuse.store.edit.merge import merge
from emofuse.store.edit.rewrite import copy as copy_store
from emofuse.store.edit.rewrite import remove_utterances
from emofuse.train.data.augmented import with_copies
from emofuse.train.data.loader import Loader
from emofuse.train.fitting import model_file
from emofuse.train.fitting.fold import side_indices
from emofuse.train.resolve.make_plan import resolve

POISON = 30_000.0
FOLD = {"folds": "1", "augmented": "all"}
"""Fold 1 tests session 1 and validates on session 2."""


def poisoned(sessions: set[str]) -> Any:
    def values(u: Utterance, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.full_like(frames, POISON) if u.session in sessions else frames

    return values


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    store(folder, copy(1), copy(2))
    return folder


def outcome(run: Path) -> tuple[bytes, list[dict[str, str]], Any]:
    """Everything that a fold gives: weights, predictions and the selection."""
    selection = json.loads((run / "fold_1" / "selection.json").read_text())
    chosen = {key: selection[key] for key in ("step", "validation") if key in selection}
    return (run / "fold_1" / "model.safetensors").read_bytes(), rows(run / "predictions.csv"), chosen


@pytest.mark.parametrize("model", ["concat", "linear"])
def test_copies_of_validation_and_test_utterances_have_no_influence_at_all(
    clean: Path, tmp_path: Path, model: str
) -> None:
    store(tmp_path, copy(1, poisoned({"1", "2"})), copy(2, poisoned({"1", "2"})))
    options: dict[str, Any] = {**FOLD, "settings": ("lr=0.01", "batch=16"), "audio": "logmel"}
    kept = outcome(quietly(config(clean, f"whole-{model}", model, **options)))
    assert outcome(quietly(config(tmp_path, "poisoned", model, **options))) == kept


def test_copies_of_training_utterances_change_the_training_but_not_what_is_evaluated(
    clean: Path, tmp_path: Path
) -> None:
    store(tmp_path, copy(1, poisoned({"3", "4"})))
    plain = quietly(config(clean, "plain", "concat", folds="1"))
    own = quietly(config(clean, "own", "concat", **FOLD))
    bad = quietly(config(tmp_path, "bad", "concat", **FOLD))
    weights = [(run / "fold_1" / "model.safetensors").read_bytes() for run in (plain, own, bad)]
    assert len(set(weights)) == 3
    statistics = [model_file.load(run / "fold_1" / "model.safetensors")[2]["audio"] for run in (plain, own, bad)]
    for mean, deviation in statistics[1:]:
        assert (mean == statistics[0][0]).all(), "statistics are those of the clips, not of their copies"
        assert (deviation == statistics[0][1]).all()
    assert [r["id"] for r in rows(own / "predictions.csv")] == [u.id for u in UTTERANCES if u.session == "1"]


@pytest.mark.parametrize("select", ["validation", "last"])
def test_only_rows_of_the_training_side_can_be_drawn(clean: Path, select: Any) -> None:
    with FeatureStore(clean / "tiny.h5") as opened:
        plan = resolve(opened, config(clean, "x", "concat", select=select, augmented="all"))
        loader = Loader(plan)
        for fold in plan.folds:
            training = side_indices(plan, fold)["train"]
            data = loader.task_data(fold).with_statistics_of(training)
            found = with_copies(data, training, loader.copies(fold))
            assert np.bincount(found.source).tolist() == [len(training)] * 3
            assert [plan.utterances[i].id for i in training] * 3 == [
                plan.utterances[loader.copies(fold)[k - 1].utterances[row] if k else row].id
                for k, row in zip(found.source, found.row, strict=True)
            ]
            held_out = {u.id for side in ("validation", "test") for u in fold.sides[side]}
            assert not held_out & {plan.utterances[i].id for i in training}


def test_a_batch_has_the_values_texts_and_labels_of_its_examples(clean: Path) -> None:
    with FeatureStore(clean / "tiny.h5") as opened:
        plan = resolve(opened, config(clean, "x", "concat", augmented=2))
        loader, fold = Loader(plan), plan.folds[0]
        training = side_indices(plan, fold)["train"]
        data = loader.task_data(fold).with_statistics({})
        found = with_copies(data, training, loader.copies(fold))
        order = next(found.training_batches(16, np.random.default_rng(0)))
        batch = found.batch(order)
        assert len(set(found.source[order].tolist())) > 1
        audio, lengths, text, words = batch.inputs
        assert audio is not None
        assert text is not None
        for i, example in enumerate(order):
            id = plan.utterances[training[example % len(training)]].id
            own = opened["logmel" if example < len(training) else f"logmel@copy{example // len(training)}"][id]
            assert np.array_equal(audio[i, : lengths[i]].numpy(), own.astype(np.float32))
            assert not audio[i, lengths[i] :].any()
            assert np.array_equal(text[i, : words[i]].numpy(), opened["bert"][id].astype(np.float32))
            assert int(batch.labels[i]) == plan.labels[training[example % len(training)]]


def test_balanced_passes_count_a_copy_in_the_group_of_its_utterance(clean: Path) -> None:
    with FeatureStore(clean / "tiny.h5") as opened:
        plan = resolve(opened, config(clean, "x", "audio", augmented=1))
        loader, fold = Loader(plan), plan.folds[0]
        training = side_indices(plan, fold)["train"]
        found = with_copies(loader.task_data(fold), training, loader.copies(fold))
        groups = (np.arange(len(training)) < 4).astype(np.int64)  # four utterances against all others
        batches = found.training_batches(16, np.random.default_rng(0), groups)
        drawn = np.concatenate([next(batches) for _ in range(len(found) // 16)])
        assert np.bincount(groups[drawn % len(training)]).tolist() == [len(training), len(training)]


@pytest.mark.parametrize(
    "setting", ["mixup=0.4", "swa=0.5", "balance=speaker", "mask_time=0.3", "ema=0.9", "label_smoothing=0.1"]
)
def test_options_of_the_training_see_no_copy_of_the_other_sides(clean: Path, tmp_path: Path, setting: str) -> None:
    store(tmp_path, copy(1, poisoned({"1", "2"})))
    options: dict[str, Any] = {"folds": "1", "augmented": 1, "settings": ("lr=0.01", "hidden=8", "batch=16", setting)}
    name = setting.partition("=")[0]
    kept = outcome(quietly(config(clean, str(tmp_path / f"kept-{name}"), "concat", **options)))
    assert outcome(quietly(config(tmp_path, "poisoned", "concat", **options))) == kept


def test_every_example_occurs_once_per_pass(clean: Path) -> None:
    with FeatureStore(clean / "tiny.h5") as opened:
        plan = resolve(opened, config(clean, "x", "audio", augmented="all"))
        loader, fold = Loader(plan), plan.folds[0]
        training = side_indices(plan, fold)["train"]
        found = with_copies(loader.task_data(fold), training, loader.copies(fold))
        batches = found.training_batches(16, np.random.default_rng(0))
        drawn = np.concatenate([next(batches) for _ in range(len(found) // 16)])
        assert sorted(drawn.tolist()) == list(range(3 * len(training)))


@pytest.mark.slow
def test_several_processes_give_the_numbers_of_one(clean: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"augmented": 1, "folds": "1,2", "seeds": 2, "steps": 10, "threads": 1, "audio": "logmel"}
    one, two = (quietly(config(clean, str(tmp_path / str(n)), "concat", jobs=n, **options)) for n in (1, 2))
    assert rows(one / "predictions.csv") == rows(two / "predictions.csv")


def test_a_final_model_trains_on_the_copies_too(clean: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"folds": "1", "steps": 4, "audio": "logmel", "final": True}
    one, without = (quietly(config(clean, str(tmp_path / str(n)), "linear", augmented=n, **options)) for n in (1, None))
    final = [(run / "final" / "model.safetensors").read_bytes() for run in (one, without)]
    assert final[0] != final[1]


def test_copies_stay_copies_in_a_copied_merged_and_shortened_store(clean: Path, tmp_path: Path) -> None:
    parts = [tmp_path / "a.h5", tmp_path / "b.h5"]
    with FeatureStore(clean / "tiny.h5") as opened:
        copy_store(opened, parts[0], ["logmel", "bert"])
        copy_store(opened, parts[1], ["logmel@copy1", "logmel@copy2"])
    merge(tmp_path / "tiny.h5", parts)
    samples.protocol_file(tmp_path)
    kept = outcome(quietly(config(clean, "again", "concat", **FOLD)))
    assert outcome(quietly(config(tmp_path, "merged", "concat", **FOLD))) == kept
    with FeatureStore(parts[1]) as only_copies, pytest.raises(UsageError, match="no audio feature; add one"):
        resolve(only_copies, config(tmp_path, "x", "audio", audio=None))
    remove_utterances(tmp_path / "tiny.h5", [], ["3F"])
    with FeatureStore(tmp_path / "tiny.h5") as left:
        for name in ("logmel", "logmel@copy1", "logmel@copy2"):
            assert left[name].ids == [u.id for u in UTTERANCES if u.speaker != "3F"]
        assert left["logmel@copy1"].is_copy
