"""Copies of a recording at another gain or cut are found from stored features; different recordings are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import train_samples as samples
from numpy.typing import NDArray

from emofuse.manifests.folds.cross_validation import build_folds
from emofuse.store import Feature, FeatureData, FeatureStore
from emofuse.train.resolve.leaks import near_duplicates
from emofuse.train.resolve.leaks.near_duplicates import NearDuplicate, find_near_duplicates

Array = NDArray[np.float32]
UTTERANCES = samples.utterances()


def smooth_noise(seed: int, frames: int = 60, dimension: int = 30) -> Array:
    """Log energies that change as slowly as speech does."""
    noise = np.random.default_rng(seed).standard_normal((frames + 8, dimension))
    averaged = np.stack([noise[i : i + 4].mean(0) for i in range(frames)])
    return (8 + 2 * averaged).astype(np.float32)


def corpus(**copies: Array) -> dict[str, Array]:
    """A recording of its own for each utterance, apart from `copies`."""
    return {u.id: copies.get(u.id, smooth_noise(i)) for i, u in enumerate(UTTERANCES)}


def found(
    tmp_path: Path, arrays: dict[str, Array], encoder: str = "logmel-mcfn", known: set[frozenset[str]] | None = None
) -> list[NearDuplicate]:
    data = FeatureData(modality="audio", arrays=arrays, encoder=encoder, frame_rate=25.0)
    folds = build_folds(samples.protocol(), UTTERANCES, "validation")
    with FeatureStore(samples.store(tmp_path / "tiny.h5", features={"speech": data})) as store:
        pairs, reason = find_near_duplicates(store["speech"], folds, known or set())
    assert reason == ""
    return list(pairs)


SOURCE = smooth_noise(0)  # the recording of the first utterance, s1_u000


NOISE = 0.1 * np.random.default_rng(5).standard_normal(SOURCE.shape).astype(np.float32)
COPIES = {
    "cut at the start": SOURCE[6:],
    "cut at the end": SOURCE[:-7],
    "cut between two frames": ((SOURCE[1:] + SOURCE[:-1]) / 2)[2:],
    "encoding": SOURCE + NOISE,
}
LOUDER = {"gain": SOURCE + np.float32(1.5), "gain and cut": SOURCE[4:] - np.float32(3)}
"""A gain adds the same to every log-Mel band; other encoders answer to it in their own way."""


@pytest.mark.parametrize(
    ("encoder", "copy"),
    [
        pytest.param(encoder, copy, id=f"{encoder}, {name}")
        for encoder, copies in (("logmel-mcfn", COPIES | LOUDER), ("hubert", COPIES))
        for name, copy in copies.items()
    ],
)
def test_a_copy_on_another_side_is_found(tmp_path: Path, encoder: str, copy: Array) -> None:
    pairs = found(tmp_path, corpus(s3_u002=copy), encoder)
    assert [(p.fold, p.test, p.other) for p in pairs] == [(1, "s1_u000", "s3_u002")]
    assert 0.93 <= pairs[0].correlation <= 1.001


def test_different_recordings_known_pairs_and_copies_on_one_side_are_not_named(tmp_path: Path) -> None:
    assert found(tmp_path, corpus()) == []
    assert found(tmp_path, corpus(s3_u002=SOURCE), known={frozenset(("s1_u000", "s3_u002"))}) == []
    assert found(tmp_path, corpus(s1_u003=SOURCE)) == [], "both are tested in fold 1, and trained on in others"


def test_short_utterances_are_not_compared(tmp_path: Path) -> None:
    assert found(tmp_path, corpus(s1_u000=SOURCE[:19], s3_u002=SOURCE[:19])) == []


def test_a_feature_that_is_pooled_over_time_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = FeatureData(modality="audio", arrays={u.id: smooth_noise(0, frames=1) for u in UTTERANCES})
    monkeypatch.setattr(Feature, "read", None)
    with FeatureStore(samples.store(tmp_path / "tiny.h5", features={"speech": data})) as store:
        pairs, reason = find_near_duplicates(store["speech"], [], set())
    assert not pairs
    assert reason == "no utterance of feature speech has more than 1 frame, too few to compare"


def test_few_signals_are_kept_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "SIGNALS", 2)
    assert [(p.test, p.other) for p in found(tmp_path, corpus(s3_u002=SOURCE[6:]))] == [("s1_u000", "s3_u002")]


def test_layers_are_averaged(tmp_path: Path) -> None:
    layered = {id: np.stack([values, values + 1], axis=1) for id, values in corpus(s3_u002=SOURCE).items()}
    data = FeatureData(modality="audio", arrays=layered, encoder="hubert", layers=(0, 1), frame_rate=25.0)
    folds = build_folds(samples.protocol(), UTTERANCES, "validation")
    with FeatureStore(samples.store(tmp_path / "tiny.h5", features={"hubert": data})) as store:
        pairs, _ = find_near_duplicates(store["hubert"], folds, set())
    assert [(p.test, p.other) for p in pairs] == [("s1_u000", "s3_u002")]


def test_a_feature_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "MAX_BYTES", 1000)
    data = FeatureData(modality="audio", arrays=corpus(), frame_rate=25.0)
    with FeatureStore(samples.store(tmp_path / "tiny.h5", features={"speech": data})) as store:
        pairs, reason = find_near_duplicates(store["speech"], [], set())
    assert not pairs
    assert reason == "feature speech is larger than 1.0 kB"
