"""Recordings on two sides of a fold that hold the same samples at another gain, cut or encoding: reported, not refused.

Found from a stored audio feature, without the audio, in two steps. First, each utterance gets a fingerprint, the mean
and the deviation over time of its features, and its nearest neighbours of similar length are the candidates. Then the
changes over time of both are laid over each other at every lag; a correlation of at least `SAME` is reported.

Log-Mel bands are floored at 40 dB below the loudest value of their clip and lose what all clips have in common, so
that neither a gain nor the codec's noise in pauses counts. Frames are pooled to about 25 per second and smoothed, so
that a cut between two frames moves little.

`SAME` is measured on Emo-DB, whose actors speak the same ten sentences, and on RAVDESS, with log-Mel (26 bands at 20
and 40 at 100 frames per second) and on Emo-DB also Whisper. Different clips of Emo-DB reach 0.77, and none is named.
In RAVDESS, two takes of one sentence by one actor in one emotion reach 0.96: 4 of 720 clips would be named if takes
were divided at random between test and training; with folds by actor, none. Its one real duplicate has 1.00. Of the
1920 synthetic utterances, whose voices have little to tell them apart, one pair of different ones reaches 0.93.
Of copies at a gain of -10 or +10 dB, cut by 10 to 300 ms at either end, padded, as mp3, Ogg or FLAC or with noise at
30 dB, 98 % are found; at -26 dB 83 to 100 %, of those cut by a tenth at both ends 69 %; resampled to 8 kHz, 11 %.
Searching 5531 utterances takes 11 s on one core.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emofuse.common.output.console import format_size, plural
from emofuse.manifests.folds.cross_validation import Fold
from emofuse.store import Feature
from emofuse.train.resolve.features.combined_feature import CombinedFeature
from emofuse.train.resolve.features.joined_feature import JoinedFeature
from emofuse.train.resolve.features.joined_store import AnyFeature
from emofuse.train.resolve.features.per_fold_feature import PerFoldFeature
from emofuse.train.resolve.leaks.aligned_frames import best_correlation, changes

SAME = 0.93
"""The correlation from which two clips count as one recording."""
NEIGHBOURS, BLOCK, MINIMUM_SIMILARITY = 8, 512, 0.6
"""Candidates per utterance, rows of one matrix product, and the lowest cosine of two fingerprints of a candidate."""
LENGTH_RATIO = 0.75
"""The shorter of two candidates has at least this share of the longer one's frames."""
FLOOR = 9.2
"""40 dB as a difference of natural logarithms of power."""
FRAMES_PER_SECOND, DIMENSIONS, CHUNK = 25, 24, 256
"""What is kept of a feature: frames per second, dimensions (a random projection), and utterances read at a time."""
MINIMUM_FRAMES = 20
"""Shorter utterances, of less than about a second, are not compared: too little happens in them to distinguish them."""
SIGNALS = 512
"""How many utterances' changes are kept while candidates are compared, which bounds memory: 5 kB per second each."""
MAX_BYTES = 8_000_000_000
"""A larger feature is not searched: reading it would take longer than many a fit."""

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicate:
    """Two utterances of similar audio, one on the test side of a fold, the other in training or validation."""

    fold: int
    test: str
    other: str
    correlation: float
    """Of their features' changes over time, at the best lag."""


def find_near_duplicates(
    feature: AnyFeature, folds: Sequence[Fold], known: set[frozenset[str]]
) -> tuple[Sequence[NearDuplicate], str]:
    """Utterances of two sides of a fold whose audio features are those of one recording, the most similar first.

    The rows of a table share the result.

    Args:
        feature: An audio feature; of one that differs by fold, the first fold's is read, of combined ones the first.
        folds: The folds that are trained.
        known: Pairs of ids that are known to be the same.

    Returns:
        The pairs, and why they were not looked for (empty if they were).
    """
    first = feature.members[0] if isinstance(feature, CombinedFeature) else feature
    stored = first.fold_features[0] if isinstance(first, PerFoldFeature) else first
    parts = list(stored.members.values()) if isinstance(stored, JoinedFeature) else [stored]
    if any(not isinstance(part.path, Path) for part in parts):
        return [], f"feature {feature.name} is behind a URL, and would be read twice"
    longest = int(stored.lengths.max(initial=0))
    if -(-longest // _frames_in_one(stored)) < MINIMUM_FRAMES:
        frames = plural(longest, "frame")
        return [], f"no utterance of feature {feature.name} has more than {frames}, too few to compare"
    if sum(part.nbytes for part in parts) > MAX_BYTES:
        return [], f"feature {feature.name} is larger than {format_size(MAX_BYTES)}"
    search = _Search(
        sources=tuple((str(part.path), part.name, part.index_digest) for part in parts),
        sides=tuple(tuple(u.id for u in side) for fold in folds for side in fold.sides.values()),
        known=frozenset(known),
        feature=stored,
        folds=tuple(folds),
    )
    return _found(search), ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """A search, equal to any other one with the same result."""

    sources: tuple[tuple[str, str, str], ...]
    """Path, name and digest of each stored feature."""
    sides: tuple[tuple[str, ...], ...]
    known: frozenset[frozenset[str]]
    feature: Feature | JoinedFeature = field(compare=False)
    folds: tuple[Fold, ...] = field(compare=False)


@lru_cache(maxsize=2)
def _found(search: _Search) -> tuple[NearDuplicate, ...]:
    folds, known = search.folds, search.known
    ids = list(dict.fromkeys(id for side in search.sides for id in side))
    sides = _sides(folds, ids)
    frames, fingerprints = _condensed(search.feature, ids)
    found: list[NearDuplicate] = []
    signal = lru_cache(maxsize=SIGNALS)(lambda index: changes(frames[index]))
    for one, other in _candidates(fingerprints, np.array([len(f) for f in frames])):
        crossing = (sides[:, one] * sides[:, other] < 0).nonzero()[0]  # test is -1, training and validation are 1
        if not len(crossing) or frozenset((ids[one], ids[other])) in known:
            continue
        correlation = best_correlation(signal(one), signal(other))
        if correlation >= SAME:
            number = int(crossing[0])
            test, trained = (one, other) if sides[number, one] < 0 else (other, one)
            found.append(
                NearDuplicate(
                    fold=folds[number].number, test=ids[test], other=ids[trained], correlation=round(correlation, 3)
                )
            )
    return tuple(sorted(found, key=lambda pair: (-pair.correlation, pair.test, pair.other)))


def _sides(folds: Sequence[Fold], ids: Sequence[str]) -> NDArray[np.int8]:
    """[folds, n]: -1 where an utterance is tested, 1 where it trains or validates, 0 where it is not used."""
    position = {id: i for i, id in enumerate(ids)}
    sides = np.zeros((len(folds), len(ids)), np.int8)
    for row, fold in zip(sides, folds, strict=True):
        for name, members in fold.sides.items():
            row[[position[u.id] for u in members]] = -1 if name == "test" else 1
    return sides


def _condensed(feature: Feature | JoinedFeature, ids: Sequence[str]) -> tuple[list[NDArray[np.float16]], Array]:
    """Of each utterance its frames [t, d], few per second and of few dimensions, and its fingerprint: [n, 2 d]."""
    bands = _bands(feature)
    sample = np.concatenate([_floored(values, bands)[0] for values in _read(feature, ids[:: 1 + len(ids) // CHUNK])])
    centre, scale = sample.mean(0), sample.std(0) + 1e-6
    dimension = sample.shape[1]
    projection = np.eye(dimension, dtype=np.float32)
    if dimension > DIMENSIONS:
        drawn = np.random.default_rng(0).standard_normal((dimension, DIMENSIONS))
        projection = (drawn / np.sqrt(DIMENSIONS)).astype(np.float32)
    pool = _frames_in_one(feature)
    frames, fingerprints = [], []
    for values in _read(feature, ids):
        floored, weights = _floored(values, bands)
        projected = ((floored - centre) / scale) @ projection
        mean = weights @ projected
        fingerprints.append(np.concatenate([mean, np.sqrt(weights @ (projected - mean) ** 2)]))
        frames.append(_pooled(projected, pool).astype(np.float16))
    stacked = np.array(fingerprints, np.float32)
    stacked = (stacked - stacked.mean(0)) / (stacked.std(0) + 1e-6)
    return frames, stacked / np.maximum(np.linalg.norm(stacked, axis=1, keepdims=True), 1e-6)


def _read(feature: Feature | JoinedFeature, ids: Sequence[str]) -> Iterator[Array]:
    """The values of each utterance, [T, D]; layers are averaged."""
    for start in range(0, len(ids), CHUNK):
        ragged = feature.read(ids[start : start + CHUNK])
        for values in np.split(ragged.values, np.cumsum(ragged.lengths)[:-1]):
            yield (values.mean(1) if values.ndim == 3 else values).astype(np.float32)


def _bands(feature: Feature | JoinedFeature) -> int | None:
    """The static bands of a log-Mel feature, which come before their deltas; None for any other feature."""
    if not feature.encoder.startswith("logmel"):
        return None
    recorded = feature.fingerprint.get("bands")
    return recorded if isinstance(recorded, int) and 0 < recorded <= feature.dimension else feature.dimension


def _floored(values: Array, bands: int | None) -> tuple[Array, Array]:
    """The values that are compared [T, d], and the weight of each frame [T]: its loudness where that is known."""
    if bands is None:
        return values, np.full(len(values), 1 / len(values), np.float32)
    static = values[:, :bands]
    static = np.maximum(static - static.max() + FLOOR, 0)
    loudness = static.mean(1)
    return static, loudness / max(float(loudness.sum()), 1e-6)


def _frames_in_one(feature: Feature | JoinedFeature) -> int:
    """How many frames are averaged to one, so that about `FRAMES_PER_SECOND` are left."""
    return max(1, round((feature.frame_rate or FRAMES_PER_SECOND) / FRAMES_PER_SECOND))


def _pooled(frames: Array, pool: int) -> Array:
    """Means of `pool` frames; the last one averages what is left."""
    starts = np.arange(0, len(frames), pool)
    counts = np.diff(np.append(starts, len(frames)))
    return (np.add.reduceat(frames, starts, axis=0) / counts[:, None]).astype(np.float32)


def _candidates(fingerprints: Array, lengths: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Pairs of utterances of similar length: of each one its nearest neighbours among those that are not shorter."""
    order = np.argsort(lengths, kind="stable")
    order = order[np.searchsorted(lengths[order], MINIMUM_FRAMES) :]
    ordered, by_length = fingerprints[order], lengths[order]
    for start in range(0, len(order), BLOCK):
        block = ordered[start : start + BLOCK]
        end = int(np.searchsorted(by_length, by_length[start + len(block) - 1] / LENGTH_RATIO, side="right"))
        similarity = block @ ordered[start:end].T
        similarity[np.tril_indices(len(block), 0, end - start)] = -1
        similarity[by_length[start : start + len(block), None] < LENGTH_RATIO * by_length[None, start:end]] = -1
        count = min(NEIGHBOURS, end - start)
        nearest = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
        for row, columns in enumerate(nearest):
            for column in columns[similarity[row, columns] >= MINIMUM_SIMILARITY]:
                yield int(order[start + row]), int(order[start + column])
