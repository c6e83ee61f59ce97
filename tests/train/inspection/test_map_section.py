"""How many neighbours share a group, counted by hand."""

import numpy as np
import pytest

from emofuse.train.inspection.map_section import same_group_neighbours


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
