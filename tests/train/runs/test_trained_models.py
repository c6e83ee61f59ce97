"""The models of a finished run, loaded again, say what the run says."""

from __future__ import annotations

import numpy as np
import pytest
import train_samples as samples
from train_samples import config

from emofuse.common.errors import UnknownNameError
from emofuse.train.api import fit
from emofuse.train.data.loader import Loader
from emofuse.train.fitting.fold import side_indices
from emofuse.train.resolve.config import FitConfig
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.fit_context import resolved
from emofuse.train.runs.trained_models import mean_values, trained_models


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> FitConfig:
    folder = tmp_path_factory.mktemp("trained")
    samples.store(folder / "tiny.h5")
    samples.protocol_file(folder)
    return config(folder, "run", "text", seeds=2, folds="1,2", steps=4)


@pytest.fixture(scope="module")
def run(asked: FitConfig) -> Run:
    return Run.open(fit(asked, say=lambda line: None).folder)


def test_the_models_of_a_run_give_its_probabilities_again(asked: FitConfig, run: Run) -> None:
    models = trained_models(run)
    assert [(m.seed, m.fold) for m in models] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    with resolved(asked) as plan:
        data, test = Loader(plan).task_data(plan.folds[0]), side_indices(plan, plan.folds[0])["test"]
        found = [models[i].values(data, test)[0] for i in (0, 2)]
        mean = mean_values([models[0], models[2]], data, test)[0]
    names = [f"p_{c}" for c in samples.CLASSES]
    rows = samples.rows(run.folder / "predictions.csv")
    for seed, probabilities in enumerate(found):
        recorded = [[float(r[n]) for n in names] for r in rows if (r["seed"], r["fold"]) == (str(seed), "1")]
        assert np.abs(probabilities - recorded).max() < 1e-6
    assert np.abs(mean - (found[0] + found[1]) / 2).max() < 1e-6


def test_one_fold_is_chosen_by_its_number(run: Run) -> None:
    assert [(m.seed, m.fold) for m in trained_models(run, fold=2)] == [(0, 2), (1, 2)]
    with pytest.raises(UnknownNameError, match=r"no fold named '3'.*1, 2"):
        trained_models(run, fold=3)


def test_utterances_of_a_run_name_their_speaker(run: Run) -> None:
    rows = {r["id"]: r for r in run.utterances}
    assert len(rows) == 32
    for utterance in samples.utterances():
        if utterance.id in rows:
            found = rows[utterance.id]
            assert (found["speaker"], found["session"], found["dialogue"], found["split"]) == (
                utterance.speaker,
                utterance.session,
                utterance.dialogue,
                "",
            )
