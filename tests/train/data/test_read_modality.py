"""Several features as one: values end to end, aligned by time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import train_samples as samples

from emofuse.common.errors import DataError
from emofuse.store import FeatureData, FeatureStore
from emofuse.train.data.read_modality import modality_bytes, read_modality
from emofuse.train.resolve.features.combined_feature import CombinedFeature

CPU = torch.device("cpu")
OF = samples.utterances(per_session=1, sessions=2)
FIRST, SECOND = (u.id for u in OF)


def counting(lengths: list[int], dimension: int = 1, layers: int = 0) -> dict[str, np.ndarray]:
    """Frames whose values are their number, 0, 1, ... (plus 100 per layer)."""
    found = {}
    for utterance, length in zip(OF, lengths, strict=True):
        values = np.arange(length, dtype=np.float32)
        if layers:
            values = values[:, None] + 100 * np.arange(layers, dtype=np.float32)
        found[utterance.id] = np.repeat(values[..., None], dimension, axis=-1)
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    def audio(arrays: dict[str, np.ndarray], rate: float | None, layers: int = 0) -> FeatureData:
        return FeatureData(modality="audio", arrays=arrays, frame_rate=rate, layers=tuple(range(layers)))

    features = {
        "slow": audio(counting([4, 3]), 20.0),
        "fast": audio(counting([10, 7], dimension=2), 50.0),
        "layered": audio(counting([4, 3], layers=2), 20.0, 2),
        "vector": audio(counting([1, 1], dimension=3), None),
        "rateless": audio(counting([4, 5]), None),
    }
    path = samples.store(tmp_path_factory.mktemp("combined") / "two.h5", OF, features=features)
    with FeatureStore(path) as opened:
        yield opened


def read(store: FeatureStore, *names: str, **options: object) -> torch.Tensor:
    feature = CombinedFeature([store[name] for name in names])
    return read_modality(feature, [FIRST, SECOND], CPU, **options).values.float()  # type: ignore[arg-type]


def test_frames_follow_the_first_feature_by_time(store: FeatureStore) -> None:
    # 20 Hz: the middles of four frames are at 25, 75, 125 and 175 ms; at 50 Hz these are in frames 1, 3, 6 and 8.
    found = read(store, "slow", "fast")
    assert found[:4].tolist() == [[0, 1, 1], [1, 3, 3], [2, 6, 6], [3, 8, 8]]
    assert found[4:].tolist() == [[0, 1, 1], [1, 3, 3], [2, 6, 6]]
    back = read(store, "fast", "slow")  # the last frame is repeated where the other feature has ended
    assert back[:10, 2].tolist() == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]


def test_equal_counts_are_taken_frame_by_frame_and_a_vector_is_repeated(store: FeatureStore) -> None:
    found = read(store, "slow", "layered", "vector")
    assert found[:4].tolist() == [[n, n, n + 100, 0, 0, 0] for n in range(4)]


def test_a_limit_cuts_the_first_feature(store: FeatureStore) -> None:
    assert read(store, "slow", "fast", limit=2).tolist() == [[0, 1, 1], [1, 3, 3]] * 2


def test_each_feature_is_pooled_by_itself(store: FeatureStore) -> None:
    found = read(store, "slow", "rateless", pool="mean+deviation")
    assert torch.allclose(found[0], torch.tensor([1.5, 1.25**0.5, 1.5, 1.25**0.5]))
    assert torch.allclose(found[1], torch.tensor([1.0, (2 / 3) ** 0.5, 2.0, 2**0.5]))


def test_frames_that_cannot_be_aligned_are_named(store: FeatureStore) -> None:
    with pytest.raises(DataError, match=r"'slow' and 'rateless' have different numbers of frames in 's2_u000'"):
        read(store, "slow", "rateless")


def test_memory_is_that_of_the_values(store: FeatureStore) -> None:
    for names in (("slow", "fast"), ("layered",), ("slow", "layered", "vector")):
        feature = CombinedFeature([store[name] for name in names])
        buffer = read_modality(feature, [FIRST, SECOND], CPU)
        assert modality_bytes(feature, [FIRST, SECOND], None, "frames") == buffer.values.nbytes
