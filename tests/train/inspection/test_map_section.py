"""How many neighbours share a group, counted by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from emofuse.train.inspection.map_section import _which, same_group_neighbours
from emofuse.train.inspection.predicted_fold import Predicted, PredictedFold


def test_neighbours_by_hand():
    vectors = np.array([[0.0], [1.0], [3.0], [10.0], [11.0]])
    # nearest: 0->1, 1->0, 2->1, 3->4, 4->3
    share, chance = same_group_neighbours(vectors, ["a", "a", "b", "b", "a"], count=1)
    assert share == pytest.approx(2 / 5)
    assert chance == pytest.approx((3 * 2 + 2 * 1) / (5 * 4))


def test_more_neighbours_than_there_are():
    share, chance = same_group_neighbours(np.array([[0.0], [1.0], [2.0]]), ["a", "a", "b"], count=10)
    assert share == pytest.approx(2 / 6) == chance
    assert same_group_neighbours(np.zeros((1, 3)), ["a"]) == (0.0, 0.0)


def test_the_words_below_the_map_say_what_is_shown_and_why():
    tested = tuple(
        Predicted(id=f"u{i}", label="a", prediction="a", probabilities=(1.0,), speaker="s7") for i in range(4)
    )
    run = SimpleNamespace(metrics={"seeds": [0, 1]}, config={"run": {"folds": [1, 2, 3]}})
    side = PredictedFold(run=run, seed=0, fold=2, tested=tested, is_largest=True)
    assert _which(side, tested[:3]) == (
        "Shown are the model of fold 2 and seed 0 and its 4 test utterances, as no other fold has more. 3 of them are "
        "drawn, each class with its share. All are of speaker s7, so there is no colour of speakers. Each of the 6 "
        "models of this run has a space of its own, so points of different models cannot stand in one map."
    )
    assert "each class with its share; the features of more do not fit" in _which(side, tested[:3], fits=False)
    alone = SimpleNamespace(metrics={}, config={"run": {"folds": [1]}})
    side = PredictedFold(run=alone, seed=0, fold=1, tested=tested[:2])
    assert _which(side, side.tested).startswith("Shown are the model of seed 0 and its 2 test utterances. All are")
