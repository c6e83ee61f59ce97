"""The ensemble of a run's seeds: scored beside them, added to a finished run, checked by `verify`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import train_samples as samples

from emofuse.common.errors import UsageError
from emofuse.manifests.metrics.scores import scores
from emofuse.train import verify_run
from emofuse.train.runs.finished_run import Run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ensemble")
    samples.store(made / "tiny.h5")
    samples.protocol_file(made)
    return made


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    """Finished without the ensemble, which a second call adds."""
    config = samples.config(folder, "run", "linear", audio="logmel", text="bert", seeds=3, folds="1,2", steps=4)
    before = Run.open(samples.quietly(config))
    assert "ensemble" not in before.metrics
    with_it = samples.config(
        folder, "run", "linear", audio="logmel", text="bert", seeds=3, folds="1,2", steps=4, ensemble=True
    )
    after = Run.open(samples.quietly(with_it))
    assert {k: v for k, v in after.metrics.items() if k != "ensemble"} == before.metrics
    return after


def test_the_mean_of_the_probabilities_is_scored(run: Run) -> None:
    sums: dict[str, np.ndarray] = {}
    labels = {}
    for row in samples.rows(run.folder / "predictions.csv"):
        values = np.array([float(row[f"p_{c}"]) for c in samples.CLASSES])
        sums[row["id"]] = sums.get(row["id"], 0) + values
        labels[row["id"]] = samples.CLASSES.index(row["label"])
    expected = scores(np.array([*labels.values()]), np.array([sums[id].argmax() for id in labels]))
    found = run.metrics["ensemble"]
    assert {name: found["pooled"][name] for name in expected} == pytest.approx(expected)
    assert found["seeds"] == [0, 1, 2]
    assert found["interval"]["ua"][0] <= found["pooled"]["ua"] <= found["interval"]["ua"][1]


def test_an_altered_score_of_the_ensemble_is_found(run: Run) -> None:
    assert not verify_run(run.folder).problems
    path = run.folder / "metrics.json"
    before = path.read_bytes()
    metrics = json.loads(before)
    metrics["ensemble"]["pooled"]["ua"] = 0.999
    path.write_text(json.dumps(metrics))
    (run.folder / "digests.json").rename(run.folder / "kept")
    try:
        path.write_text(json.dumps({k: v for k, v in metrics.items() if k != "weights"}))
        assert any("ensemble" in line and "0.999" in line for line in verify_run(run.folder).problems)
    finally:
        path.write_bytes(before)
        (run.folder / "kept").rename(run.folder / "digests.json")


def test_one_seed_is_no_ensemble(folder: Path) -> None:
    with pytest.raises(UsageError, match="--ensemble averages the models of several seeds, and one is trained"):
        samples.quietly(samples.config(folder, "no", "linear", audio="logmel", ensemble=True))
