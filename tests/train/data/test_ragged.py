"""Features that are mapped into memory from their store's file, and values that are not finite."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import train_samples as samples

from emofuse.common.errors import DataError
from emofuse.store import FeatureData, FeatureStore
from emofuse.store.core.spec import mark_of
from emofuse.train.api import fit
from emofuse.train.data import loader
from emofuse.train.data.ragged import RaggedModality, can_be_mapped
from emofuse.train.runs.fit_context import resolved

CPU = torch.device("cpu")
UTTERANCES = samples.utterances(8, 3)
IDS = [u.id for u in UTTERANCES]


def store(path: Path, dtype: str) -> Path:
    data = FeatureData(modality="audio", arrays=samples.frames(UTTERANCES, 0), encoder="logmel-smcn", dtype=dtype)
    return samples.store(path, UTTERANCES, features={"logmel": data})


@pytest.mark.parametrize("dtype", ["float16", "float32", "bfloat16"])
@pytest.mark.parametrize("limit", [None, 4])
def test_mapped_frames_are_those_that_were_read(tmp_path: Path, dtype: str, limit: int | None) -> None:
    chosen = np.array([5, 0, 17])
    ids = IDS[::-1]
    with FeatureStore(store(tmp_path / "tiny.h5", dtype)) as opened:
        feature = opened.feature("logmel")
        assert can_be_mapped(feature, "frames")
        mapped, read = (make(feature, ids, CPU, limit) for make in (RaggedModality.memory_map, RaggedModality.load))
    assert mapped.values.untyped_storage().nbytes() == feature.nbytes
    for statistics in (None, read.statistics(chosen)):
        for one, other in zip(mapped.gather(chosen, statistics), read.gather(chosen, statistics), strict=True):
            assert torch.equal(one, other)
    for one, other in zip(mapped.statistics(chosen), read.statistics(chosen), strict=True):
        assert torch.equal(one, other)


def test_pooled_frames_are_not_mapped(tmp_path: Path) -> None:
    with FeatureStore(store(tmp_path / "half.h5", "float16")) as opened:
        assert not can_be_mapped(opened.feature("logmel"), "mean")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    samples.store(tmp_path / "tiny.h5")
    samples.protocol_file(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_store_larger_than_memory_is_fitted_from_and_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = samples.quietly(samples.config(folder, "small", "concat"))
    monkeypatch.setattr(loader, "free_memory", lambda: 1000.0)
    lines: list[str] = []
    fit(samples.config(folder, "large", "concat"), say=lines.append)
    (line,) = {line for line in lines if line.startswith("audio feature")}
    assert "logmel" in line
    assert "stays in" in line
    assert "mapped into memory: 1.0 kB are free" in line
    lines.clear()
    with resolved(samples.config(folder, "side", "concat")) as plan:
        loader.Loader(plan, say=lines.append).verify(set())  # the same line where other processes train
    assert line in lines
    assert (small / "predictions.csv").read_bytes() == (folder / "large" / "predictions.csv").read_bytes()


def poisoned(path: Path, name: str, positions: list[int]) -> list[str]:
    """Write NaN into utterances of a feature, with correct checksums, as another program may; gives their ids."""
    with FeatureStore(path) as opened:
        feature = opened.feature(name)
        raws, ids = [bytearray(feature.raw(i)) for i in positions], [feature.ids[i] for i in positions]
    descriptor = os.open(path, os.O_WRONLY)
    for i, raw in zip(positions, raws, strict=True):
        raw[:2] = np.float16(np.nan).tobytes()
        os.pwrite(descriptor, raw, feature.values_offset + int(feature.starts[i]) * feature.spec.frame_bytes)
        os.pwrite(descriptor, mark_of(bytes(raw)).to_bytes(8, "little"), feature.mark_offset + 8 * i)
    os.close(descriptor)
    return ids


@pytest.mark.parametrize("more", [{}, {"jobs": 2, "threads": 1}], ids=["one", "two"])
def test_nan_is_refused_and_its_utterances_named(folder: Path, more: dict[str, Any]) -> None:
    bad = poisoned(folder / "tiny.h5", "logmel", [3, 40])
    with pytest.raises(DataError) as refused:
        fit(samples.config(folder, "nan", "concat", **more), say=lambda line: None)
    assert "'logmel' holds NaN or infinity in 2 utterances" in str(refused.value)
    assert ", ".join(bad) in str(refused.value)


def test_nan_is_refused_where_memory_is_short(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poisoned(folder / "tiny.h5", "bert", [0])
    monkeypatch.setattr(loader, "free_memory", lambda: 1000.0)
    with pytest.raises(DataError, match="NaN or infinity in 1 utterance,"):
        fit(samples.config(folder, "nan", "concat"), say=lambda line: None)
