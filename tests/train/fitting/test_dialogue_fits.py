"""Fits of models that read dialogues: what they may read, what they say, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import train_samples as samples

from emofuse.common.errors import UsageError
from emofuse.predict import predict
from emofuse.store import FeatureData
from emofuse.train import export, fit
from emofuse.train.data.batches import TaskData
from emofuse.train.data.loader import Loader
from emofuse.train.fitting.fold import side_indices
from emofuse.train.runs.fit_context import resolved
from emofuse.train.runs.reporting.caveats import caveats

# Each dialogue has one emotion, which only its first utterance shows.
UTTERANCES = tuple(
    replace(u, turn=i % 4, label=samples.CLASSES[(i // 4 + int(str(u.session))) % 4])
    for s in range(4)
    for i, u in enumerate(samples.utterances(per_session=32, sessions=4)[s * 32 : s * 32 + 32])
)
UTTERANCES = tuple(replace(u, dialogue=f"{u.session}_{int(u.id[-3:]) // 4}") for u in UTTERANCES)


def silent(line: str) -> None:
    pass


def shown() -> dict[str, Any]:
    rng, found = np.random.default_rng(0), {}
    for u in UTTERANCES:
        frames = 0.1 * rng.standard_normal((3, 5))
        if u.turn == 0:
            frames[:, samples.CLASSES.index(str(u.label))] += 2
        found[u.id] = frames.astype(np.float32)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("dialogues")
    samples.protocol_file(made)
    features = {"bert": FeatureData(modality="text", arrays=shown(), encoder="bert")}
    samples.store(made / "tiny.h5", UTTERANCES, features=features)
    return made


def config(folder: Path, name: str, model: str = "dialogue-gru", **options: Any) -> Any:
    small = ("lr=0.02", "hidden=8", "batch=4")
    return samples.config(folder, name, model, **({"folds": "1", "steps": 60, "settings": small} | options))


@pytest.mark.parametrize(
    ("model", "settings", "reads"),
    [
        ("dialogue-gru", ("context=causal",), "before"),
        ("dialogue-gru", (), "all"),
        ("dialoguernn", ("width=8", "dropout=0"), "all"),
    ],
)
def test_it_learns_what_only_another_utterance_of_the_dialogue_shows(
    folder: Path, model: str, settings: tuple[str, ...], reads: str
) -> None:
    name = f"{model}-{reads}"
    run = fit(config(folder, name, model, settings=("lr=0.02", "hidden=8", "batch=4", *settings)), say=silent)
    assert run.metrics["pooled"]["ua"] > 0.65  # a model that reads each utterance alone: 0.44 at best
    assert run.metrics["context"] == reads
    rows = samples.rows(run.folder / "predictions.csv")
    assert [row["id"] for row in rows] == [u.id for u in UTTERANCES if u.session == "1"]
    assert any("later turns" in caveat for caveat in caveats(run.metrics)) == (reads == "all")
    refused = r"reads whole dialogues, and"
    with pytest.raises(UsageError, match=refused):
        export(run=run.folder, format="torchscript", out=folder / f"{name}-export", say=silent)
    with pytest.raises(UsageError, match=refused):
        predict(run=run.folder, text="a", say=silent)


def test_no_side_reads_an_utterance_of_another_side(folder: Path) -> None:
    with resolved(config(folder, "sides")) as plan:
        data, sides = Loader(plan).task_data(plan.folds[0]), side_indices(plan, plan.folds[0])
    assert data.dialogues is not None
    cut = replace(data.dialogues, dialogue=data.dialogues.dialogue % 8)  # every dialogue is on all sides
    data = replace(data, dialogues=cut).with_statistics({})
    for side in sides.values():
        first = next(data.training_batches(side, 4, np.random.default_rng(0)))
        for batch in [*data.evaluation_batches(side), first]:
            dialogues = data.batch(batch).dialogues
            assert dialogues is not None
            assert set(batch.tolist()) <= set(side.tolist())
            assert int(dialogues.rows.max()) < len(batch) == len(dialogues.places)


def test_an_epoch_is_all_dialogues_of_the_training_side(folder: Path) -> None:
    with resolved(config(folder, "epochs", steps=None, epochs=3)) as plan:
        assert plan.training_steps(plan.folds[0].train) == 3 * 16 // 4
        data, training = Loader(plan).task_data(plan.folds[0]), side_indices(plan, plan.folds[0])["train"]
        assert isinstance(data, TaskData)
        assert data.examples(training) == 16


@pytest.mark.parametrize("setting", ["mixup=0.2", "balance=class"])
def test_what_draws_single_utterances_is_refused(folder: Path, setting: str) -> None:
    refused = f"{setting} draws or mixes single utterances, and model dialogue-gru draws whole dialogues"
    with pytest.raises(UsageError, match=refused):
        fit(config(folder, "refused", settings=(setting,)), say=silent)
    assert not (folder / "refused").exists()


def test_a_store_without_dialogues_is_refused(folder: Path, tmp_path: Path) -> None:
    alone = tuple(replace(u, dialogue=None) for u in UTTERANCES)
    features = {"bert": FeatureData(modality="text", arrays=shown(), encoder="bert")}
    store = samples.store(tmp_path / "alone.h5", alone, features=features)
    text = samples.TOML.replace(', "dialogue"', "")
    (tmp_path / "tiny4.toml").write_text(text)
    with pytest.raises(UsageError, match="the dialogue of 128 of 128 utterances is unknown"):
        fit(config(folder, "alone", store=store, protocol=str(tmp_path / "tiny4.toml")), say=silent)
