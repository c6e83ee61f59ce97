"""Maps: deterministic, of any number of points, and neighbours stay neighbours."""

import sys

import numpy as np
import pytest

from emofuse.common.errors import UsageError
from emofuse.train.inspection import projection
from emofuse.train.inspection.projection import available_methods, project, stratified_sample

UMAP = pytest.param(
    "umap",
    marks=[pytest.mark.slow, pytest.mark.skipif("umap" not in available_methods(), reason="umap-learn is missing")],
)
METHODS = ["tsne", UMAP]


def two_groups(n: int = 20) -> np.ndarray:
    vectors = np.random.default_rng(0).standard_normal((2 * n, 80))
    vectors[n:] += 20
    return vectors


@pytest.mark.parametrize("method", METHODS)
def test_groups_stay_apart_and_the_same_call_gives_the_same_points(method):
    vectors = two_groups()
    points = project(vectors, method)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.argmin(1)
    assert ((nearest >= 20) == (np.arange(40) >= 20)).all()
    np.testing.assert_array_equal(points, project(vectors, method))
    np.testing.assert_allclose(points.mean(0), 0, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7])
def test_few_points(method, n):
    points = project(two_groups()[17 : 17 + n], method)
    assert points.shape == (n, 2)
    assert np.isfinite(points).all()
    assert len({tuple(point) for point in points.tolist()}) == n


def test_vectors_of_one_dimension_and_equal_vectors():
    assert np.isfinite(project(np.arange(12.0).reshape(12, 1))).all()
    np.testing.assert_array_equal(project(np.ones((9, 4))), np.zeros((9, 2)))


def test_umap_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    assert available_methods() == ["tsne"]
    with pytest.raises(UsageError, match=r"pip install 'emofuse\[umap\]'"):
        project(two_groups(), "umap")


def test_a_sample_keeps_every_group_and_its_share():
    groups = ["a"] * 900 + ["b"] * 97 + ["c"] * 3
    chosen = stratified_sample(groups, 100)
    assert list(chosen) == sorted(set(chosen.tolist()))
    counts = [sum(groups[i] == name for i in chosen) for name in "abc"]
    assert counts == [90, 9, 1]
    np.testing.assert_array_equal(chosen, stratified_sample(groups, 100))
    assert (stratified_sample(groups, 100, seed=1) != chosen).any()


def test_a_sample_is_never_larger_than_asked_for():
    groups = ["a"] * 50 + [f"g{i}" for i in range(9)]
    assert len(stratified_sample(groups, 12)) <= 12
    np.testing.assert_array_equal(stratified_sample(groups, projection.MOST_POINTS), np.arange(59))
