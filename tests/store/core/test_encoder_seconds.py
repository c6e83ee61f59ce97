"""How long the encoder took for each utterance stays with its values, through resuming, merging and rewriting."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest
from store_samples import arrays, manifest
from writer_samples import SPEC, lengths

from emofuse.store import FeatureStore, FeatureWriter
from emofuse.store.edit.merge import merge
from emofuse.store.edit.repack import repack
from emofuse.store.edit.rewrite import copy

M = manifest(6)
AUDIO = arrays(M)


def write(path: Path, ids: list[str], seconds: float, *, finish: bool = True) -> None:
    """Write some utterances, each of which took so many seconds, and leave the others for another call."""
    with FeatureWriter(path, M, SPEC, lengths(AUDIO)) as writer:
        for id in ids:
            writer.put(id, AUDIO[id], seconds)
        if finish:
            writer.commit()


def recorded(path: Path, ids: list[str] | None = None) -> float | None:
    with FeatureStore(path) as store:
        return store.feature(SPEC.name).encoder_seconds(ids)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two utterances of 1 s each in a first call, and four of 2 s in one that resumes it."""
    path = tmp_path / "s.h5"
    write(path, M.ids[:2], 1.0, finish=False)
    write(path, M.ids[2:], 2.0)
    return path


def test_a_resumed_extraction_adds_to_the_seconds(store: Path) -> None:
    assert recorded(store) == 10
    assert recorded(store, M.ids[1:3]) == 3


def test_copies_merged_stores_and_repacked_ones_keep_them(store: Path, tmp_path: Path) -> None:
    with FeatureStore(store) as source:
        copy(source, tmp_path / "int8.h5", dtype="int8")
    assert recorded(tmp_path / "int8.h5") == 10
    merge(tmp_path / "merged.h5", [store])
    assert recorded(tmp_path / "merged.h5") == 10
    repack(store)
    assert recorded(store) == 10


def test_where_one_is_not_known_there_is_no_sum(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    write(path, M.ids[:1], 0.0, finish=False)
    write(path, M.ids[1:], 1.0)
    assert recorded(path) is None
    assert recorded(path, M.ids[1:]) == 5


def test_a_store_of_an_earlier_version_has_none_and_can_be_repacked(store: Path) -> None:
    with h5py.File(store, "r+") as file:
        del file["features"][SPEC.name]["encoder_seconds"]
    assert recorded(store) is None
    repack(store)
    assert recorded(store) is None
    write(store, M.ids[:0], 1.0)
    assert recorded(store) is None
