"""A store as a torch dataset: items, batches, and forked and spawned workers."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from store_samples import arrays, manifest
from torch.utils.data import DataLoader

from emofuse.common.errors import DataError, UnknownNameError, UsageError
from emofuse.manifests.schema import Utterance
from emofuse.store import FeatureData, FeatureStore, write_store
from emofuse.store.edit.rewrite import add
from emofuse.train.dataset import UtteranceDataset, padded

M = manifest(24)
AUDIO, TEXT = arrays(M), arrays(M, dimension=4, layers=2, seed=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    some = {i: TEXT[i] for i in M.ids[4:]}
    audio = FeatureData(modality="audio", arrays=AUDIO)
    write_store(
        tmp_path / "s.h5", M, {"hubert": audio, "bert": FeatureData(modality="text", arrays=some, layers=(1, 2))}
    )
    return tmp_path / "s.h5"


def is_happy(utterance: Utterance) -> int:
    return int(utterance.label == "hap")


def test_items(path: Path) -> None:
    dataset = UtteranceDataset(path, ["hubert", "bert"], transform=is_happy)
    assert dataset.ids == M.ids[4:], "utterances that have every feature"
    item = dataset[3]
    assert (item["id"], item["label"], item["target"]) == ("u007", "hap", 1)
    assert item["hubert"].dtype == torch.float32
    np.testing.assert_array_equal(item["hubert"].numpy(), AUDIO["u007"].astype("f2"))
    assert item["bert"].shape == TEXT["u007"].shape
    with pytest.raises(UsageError, match=r"has no up-to-date hubert, bert of 1 of the utterances, 'u001' first"):
        UtteranceDataset(path, ["hubert", "bert"], ids=["u001", "u009"])
    with pytest.raises(UnknownNameError, match="Valid: bert, hubert"):
        UtteranceDataset(path, ["wavlm"])


@pytest.mark.slow
@pytest.mark.parametrize("context", [None, "fork", "spawn"])
def test_batches_from_workers(path: Path, context: str | None) -> None:
    dataset = UtteranceDataset(path, ["hubert"], ids=M.ids[::-1])
    workers = 0 if context is None else 2
    loader = DataLoader(dataset, batch_size=5, num_workers=workers, collate_fn=padded, multiprocessing_context=context)
    seen = []
    for batch in loader:
        for row, length, id in zip(batch["hubert"], batch["hubert_lengths"].tolist(), batch["id"], strict=True):
            np.testing.assert_array_equal(row[:length].numpy(), AUDIO[id].astype("f2"))
            assert not row[length:].any()
            seen.append(id)
    assert seen == M.ids[::-1]


def test_damage_is_found_when_the_item_is_read(path: Path) -> None:
    with FeatureStore(path) as store:
        offset = store.feature("hubert").values_offset
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\x55")
    dataset = UtteranceDataset(path, ["hubert"])
    assert len(dataset[1]["hubert"])
    with pytest.raises(DataError, match="u000"):
        dataset[0]


def test_stale_utterances_count_as_missing(path: Path) -> None:
    changed = replace(
        M, utterances=tuple(replace(u, audio_digest="f" * 32) if u.id == "u009" else u for u in M.utterances)
    )
    add(path, changed)
    assert "u009" not in UtteranceDataset(path, ["hubert"]).ids
    with pytest.raises(UsageError, match="has no up-to-date hubert of 1"):
        UtteranceDataset(path, ["hubert"], ids=["u009"])


def test_a_spawned_worker_refuses_a_file_that_replaced_the_opened_one(path: Path) -> None:
    dataset = UtteranceDataset(path, ["hubert"])
    kept = pickle.dumps(dataset)
    assert len(kept) < 2000 + 20 * len(M), "texts are not copied"
    assert pickle.loads(kept)[2]["id"] == "u002"
    path.unlink()
    other = {i: a + 1 for i, a in AUDIO.items()}
    write_store(path, M, {"hubert": FeatureData(modality="audio", arrays=other)})
    with pytest.raises(DataError, match="has been replaced since it was opened"):
        pickle.loads(kept)
    np.testing.assert_array_equal(dataset[2]["hubert"].numpy(), AUDIO["u002"].astype("f2"))
