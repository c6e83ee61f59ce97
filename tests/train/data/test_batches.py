"""From store to batches: gathering, truncating, pooling, standardising, and randomness of length-sorted batches."""

from __future__ import annotations

import tracemalloc
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import train_samples as samples

from emofuse.store import FeatureData, FeatureStore
from emofuse.train.data import ragged
from emofuse.train.data.batches import TaskData
from emofuse.train.data.ragged import RaggedModality

CPU = torch.device("cpu")
UTTERANCES = samples.utterances(8, 3)
IDS = [u.id for u in UTTERANCES]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.store(tmp_path_factory.mktemp("store") / "tiny.h5", UTTERANCES)


def load(path: Path, name: str = "logmel", **options: object) -> RaggedModality:
    with FeatureStore(path) as store:
        return RaggedModality.load(store.feature(name), IDS, CPU, **options)  # type: ignore[arg-type]


def task_data(path: Path, *standardised: str) -> TaskData:
    labels = torch.arange(len(IDS)) % 4
    sides = {"audio": load(path), "text": load(path, "bert")}
    return TaskData(modalities=sides, labels=labels, standardised=standardised)


def test_a_batch_holds_each_utterances_own_frames_and_zeros(path: Path) -> None:
    chosen = np.array([5, 0, 17])
    batch, lengths = load(path).gather(chosen)
    arrays = samples.frames(UTTERANCES, 0)
    assert batch.dtype == torch.float32
    assert batch.shape == (3, int(lengths.max()), 6)
    for row, length, i in zip(batch, lengths.tolist(), chosen, strict=True):
        expected = arrays[IDS[i]]
        assert length == len(expected)
        np.testing.assert_allclose(row[:length], expected.astype(np.float16), atol=0)
        assert not row[length:].any()


def test_memory_keeps_the_half_precision_of_the_store(path: Path) -> None:
    assert load(path).values.dtype == torch.float16


@pytest.mark.parametrize("limit", [1, 4, 100])
def test_utterances_are_cut_to_the_limit(path: Path, limit: int) -> None:
    whole, cut = load(path), load(path, limit=limit)
    assert cut.lengths.tolist() == [min(n, limit) for n in whole.lengths.tolist()]
    everything = np.arange(len(IDS))
    torch.testing.assert_close(cut.gather(everything)[0], whole.gather(everything)[0][:, :limit])


@pytest.mark.parametrize("name", ["logmel", "hubert"])
def test_a_pooled_utterance_is_one_frame_of_its_mean_and_deviation(path: Path, name: str) -> None:
    pooled, lengths = load(path, name, pool="mean+deviation").gather(np.arange(len(IDS)))
    mean, _ = load(path, name, pool="mean").gather(np.arange(len(IDS)))
    arrays = samples.frames(UTTERANCES, 0, layers=3 if name == "hubert" else 0)
    assert lengths.tolist() == [1] * len(IDS)
    for i, id in enumerate(IDS):
        exact = arrays[id].astype(np.float16).astype(np.float64)
        np.testing.assert_allclose(pooled[i, 0], np.concatenate([exact.mean(0), exact.std(0)], -1), atol=1e-5)
        np.testing.assert_allclose(mean[i, 0], exact.mean(0), atol=1e-5)


def test_statistics_cover_all_frames_of_the_given_utterances(path: Path) -> None:
    chosen = np.array([1, 2, 9])
    mean, scale = load(path).statistics(chosen)
    frames = np.concatenate([samples.frames(UTTERANCES, 0)[IDS[i]].astype(np.float16) for i in chosen]).astype(float)
    np.testing.assert_allclose(mean, frames.mean(0), atol=1e-5)
    np.testing.assert_allclose(scale, frames.std(0), atol=1e-5)


def test_a_constant_dimension_is_not_divided_by_zero(tmp_path: Path) -> None:
    arrays = {i: np.full((3, 2), 7.0, np.float32) for i in IDS}
    features = {"logmel": FeatureData(modality="audio", arrays=arrays)}
    found = load(samples.store(tmp_path / "s.h5", UTTERANCES, features=features))
    assert found.statistics(np.arange(4))[1].tolist() == [1.0, 1.0]
    assert not found.gather(np.arange(4), found.statistics(np.arange(4)))[0].any()


@pytest.mark.parametrize("pool", ["frames", "mean", "mean+deviation"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
def test_small_chunks_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: Any, dtype: str) -> None:
    arrays = samples.frames(UTTERANCES, 0)
    features = {"logmel": FeatureData(modality="audio", arrays=arrays, dtype=dtype)}
    store, everything = samples.store(tmp_path / "s.h5", UTTERANCES, features=features), np.arange(len(IDS))
    whole = load(store, pool=pool, limit=8)
    monkeypatch.setattr(ragged, "CHUNK_BYTES", 100)
    chunked = load(store, pool=pool, limit=8)
    assert chunked.values.dtype == whole.values.dtype
    torch.testing.assert_close(chunked.gather(everything), whole.gather(everything), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(chunked.statistics(everything), whole.statistics(everything), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("pool", ["mean", "mean+deviation"])
def test_pooling_never_widens_more_than_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: Any) -> None:
    values = np.random.default_rng(0).standard_normal((500, 64)).astype(np.float16)
    features = {"logmel": FeatureData(modality="audio", arrays=dict.fromkeys(IDS, values))}
    store = samples.store(tmp_path / "s.h5", UTTERANCES, features=features)
    monkeypatch.setattr(ragged, "CHUNK_BYTES", 100_000)
    with FeatureStore(store) as opened:
        feature = opened.feature("logmel")
        tracemalloc.start()
        RaggedModality.load(feature, IDS, CPU, pool=pool)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 500_000 < len(IDS) * values.nbytes


def test_standardising_uses_the_training_side_alone_and_leaves_padding_zero(path: Path) -> None:
    train, test = np.arange(8), np.arange(8, 16)
    fitted = task_data(path, "audio").with_statistics_of(train)
    audio, lengths, text, _ = fitted.batch(train).inputs
    assert audio is not None
    assert lengths is not None
    valid = torch.arange(audio.shape[1]) < lengths.unsqueeze(1)
    torch.testing.assert_close(audio[valid].mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(audio[valid].std(0, correction=0), torch.ones(6), atol=1e-4, rtol=0)
    assert not audio[~valid].any()
    torch.testing.assert_close(text, task_data(path).with_statistics({}).batch(train).inputs[2])
    held_out = fitted.batch(test).inputs[0]
    assert held_out is not None
    assert held_out.mean().abs() > 1e-4


def test_data_without_statistics_give_no_batch(path: Path) -> None:
    with pytest.raises(ValueError, match="with_statistics_of"):
        task_data(path, "audio").batch(np.arange(2))


def test_each_pass_has_each_utterance_once_and_every_batch_is_full(path: Path) -> None:
    chosen = np.arange(0, 20)
    batches = list(islice(task_data(path).training_batches(chosen, 5, np.random.default_rng(0)), 8))
    assert {len(b) for b in batches} == {5}
    for first in (0, 4):
        assert sorted(np.concatenate(batches[first : first + 4]).tolist()) == chosen.tolist()


def test_passes_differ_and_the_seed_decides(path: Path) -> None:
    def first(seed: int, count: int) -> list[list[int]]:
        found = task_data(path).training_batches(np.arange(24), 4, np.random.default_rng(seed))
        return [b.tolist() for b in islice(found, count)]

    assert first(1, 12) == first(1, 12)
    assert first(1, 12) != first(2, 12)
    assert first(1, 12)[:6] != first(1, 12)[6:]


def test_a_batch_larger_than_the_training_side_takes_all_of_it(path: Path) -> None:
    batch = next(task_data(path).training_batches(np.arange(7), 32, np.random.default_rng(0)))
    assert sorted(batch.tolist()) == list(range(7))


def test_length_sorted_batches_pad_less_than_random_ones() -> None:
    lengths = torch.from_numpy(np.random.default_rng(0).integers(1, 500, 4000))
    values = torch.zeros(int(lengths.sum()), 1, dtype=torch.float16)
    side = RaggedModality(values=values, starts=torch.cumsum(lengths, 0) - lengths, lengths=lengths)
    full = TaskData(modalities={"audio": side}, labels=torch.zeros(4000, dtype=torch.int64))

    def useful(batches: list[np.ndarray]) -> float:
        return float(sum(lengths[b].sum() for b in batches) / sum(len(b) * lengths[b].max() for b in batches))

    bucketed = list(islice(full.training_batches(np.arange(4000), 32, np.random.default_rng(0)), 125))
    order = np.random.default_rng(0).permutation(4000)
    assert useful(bucketed) > 0.85 > 0.6 > useful(np.split(order, 125))


def test_evaluation_has_every_utterance_once_longest_first(path: Path) -> None:
    chosen = np.array([3, 1, 8, 20])
    ordered = np.concatenate(list(task_data(path).evaluation_batches(chosen)))
    lengths = task_data(path).sort_lengths()[ordered]
    assert sorted(ordered.tolist()) == sorted(chosen.tolist())
    assert (np.diff(lengths) <= 0).all()


@pytest.mark.parametrize("groups", [[0] * 18 + [1] * 6, [0] * 22 + [1, 2], list(range(24))])
def test_a_balanced_pass_has_as_many_of_each_group(path: Path, groups: list[int]) -> None:
    corpus, members = task_data(path), np.arange(24)
    passes = corpus.training_batches(members, 8, np.random.default_rng(0), np.array(groups))
    for _ in range(3):
        drawn = np.concatenate(list(islice(passes, 3)))
        shares = np.bincount(np.array(groups)[drawn], minlength=max(groups) + 1)
        assert shares.tolist() == [24 // len(shares)] * len(shares)
        times = np.bincount(drawn, minlength=24)
        for group in set(groups):
            of_group = times[np.array(groups) == group]
            assert of_group.max() - of_group.min() <= 1, "none twice before all of the group are used"
