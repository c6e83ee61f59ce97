"""Vectors as points in a plane, by t-SNE or UMAP: the one place of all maps."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import UsageError

Method = Literal["tsne", "umap"]
TITLES: dict[Method, str] = {"tsne": "t-SNE", "umap": "UMAP"}
MOST_POINTS = 1000
"""Points of a map: with more, nobody could tell them apart, and t-SNE would take a minute."""
FEW = 5
"""With fewer points than this there are no neighbourhoods to keep: they are placed by PCA."""
DIMENSIONS = 50
UMAP_STARTS = "drawing maps: UMAP compiles itself first, about half a minute (--maps tsne leaves it out)"
MISSING = "UMAP needs umap-learn: pip install 'emofuse[umap]'"
Points = NDArray[np.float64]


def available_methods() -> list[Method]:
    """The methods that are installed, t-SNE first."""
    return ["tsne", "umap"] if importlib.util.find_spec("umap") else ["tsne"]


def chosen_methods(named: Sequence[Method]) -> tuple[Method, ...]:
    """The methods that a user has named; all that are installed where none is.

    Raises:
        UsageError: UMAP is named and not installed.
    """
    if "umap" in named and "umap" not in available_methods():
        raise UsageError(MISSING)
    return tuple(named) or tuple(available_methods())


def project(vectors: NDArray[Any], method: Method = "tsne", seed: int = 0) -> Points:
    """Place vectors so that neighbours stay neighbours; equal calls give equal points.

    The vectors are reduced to their 50 largest principal components first. A map of more than `MOST_POINTS` should be
    of a `stratified_sample`.

    Args:
        vectors: [n, D], n at least 1.
        method: t-SNE (van der Maaten and Hinton 2008) or UMAP (McInnes et al. 2018).
        seed: Of the method's random numbers.

    Returns:
        [n, 2], centred. Only neighbourhoods mean something, neither the axes nor the distances between far groups.

    Raises:
        UsageError: UMAP is not installed.
    """
    if method == "umap" and "umap" not in available_methods():
        raise UsageError(MISSING)
    reduced = _principal_components(np.asarray(vectors, np.float64), seed)
    if len(reduced) < FEW or not np.any(reduced):
        points = np.zeros((len(reduced), 2))
        points[:, : min(2, reduced.shape[1])] = reduced[:, :2]
        return points
    placed: Points = _tsne(reduced, seed) if method == "tsne" else _umap(reduced, seed)
    placed -= placed.mean(0)
    return placed


def stratified_sample(groups: Sequence[str], most: int = MOST_POINTS, seed: int = 0) -> NDArray[np.int64]:
    """Indices of at most `most` items, ascending, of each group its share and at least one.

    Args:
        groups: [n], the group of each item, such as its class.
        most: At least the number of groups.
        seed: Of the choice within a group.
    """
    if len(groups) <= most:
        return np.arange(len(groups))
    generator, of_item = np.random.default_rng(seed), np.array(groups)
    names, counts = np.unique(of_item, return_counts=True)
    shares = np.maximum(1, np.floor(counts * most / len(groups)).astype(int))
    while shares.sum() > most:  # many tiny groups took more than their share
        shares[shares.argmax()] -= 1
    chosen = [
        generator.choice(np.flatnonzero(of_item == name), share, replace=False)
        for name, share in zip(names, shares, strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def _principal_components(vectors: Points, seed: int) -> Points:
    """[n, at most 50], centred."""
    from sklearn.decomposition import PCA

    centred = vectors - vectors.mean(0)
    count = min(DIMENSIONS, *vectors.shape)
    if len(vectors) == 1 or not centred.any():
        return np.zeros((len(vectors), count))
    reduced: Points = PCA(count, random_state=seed).fit_transform(centred)
    return reduced


def _tsne(vectors: Points, seed: int) -> Points:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(vectors) - 1) / 3)
    init = "pca" if vectors.shape[1] > 1 else "random"
    points = TSNE(init=init, perplexity=perplexity, random_state=seed).fit_transform(vectors)
    return np.asarray(points, np.float64)


def _umap(vectors: Points, seed: int) -> Points:
    import warnings

    from umap import UMAP

    neighbours = min(15, len(vectors) - 1)
    init = "spectral" if len(vectors) > 4 * FEW else "random"  # too few points have no spectrum
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its libraries' versions, and that a seed means one thread
        points = UMAP(n_neighbors=neighbours, init=init, random_state=seed, n_jobs=1).fit_transform(vectors)
    return np.asarray(points, np.float64)
