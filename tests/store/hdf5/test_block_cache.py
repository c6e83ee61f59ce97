"""Small reads of an HDF5 file come from whole blocks, and never from what a writer changes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from store_samples import arrays, manifest

from emofuse.common.errors import DataError
from emofuse.store import FeatureSpec, FeatureStore, FeatureWriter
from emofuse.store.hdf5.block_cache import BlockCache, Hdf5Stream

DATA = bytes(range(256)) * 4


def counting(most_blocks: int = 4) -> tuple[BlockCache, list[tuple[int, int]]]:
    """A cache of blocks of 64 bytes, and the list of what it fetches."""
    fetched: list[tuple[int, int]] = []

    def fetch(start: int, end: int) -> bytes:
        fetched.append((start, end))
        return DATA[start:end]

    return BlockCache(fetch, len(DATA), 64, most_blocks), fetched


@pytest.mark.parametrize(("offset", "count"), [(0, 0), (0, 1), (63, 2), (10, 64), (1000, 24), (5, 500), (1024, 0)])
def test_a_read_gives_the_bytes_of_the_file(offset: int, count: int) -> None:
    cache, _ = counting()
    assert cache.read(offset, count) == DATA[offset : offset + count]


def test_a_block_is_fetched_once() -> None:
    cache, fetched = counting()
    for offset in (0, 8, 32, 60, 0):
        cache.read(offset, 4)
    assert fetched == [(0, 64)]
    cache.read(60, 8)
    assert fetched == [(0, 64), (64, 128)]


def test_old_blocks_are_dropped_and_long_reads_are_not_kept() -> None:
    cache, fetched = counting(most_blocks=1)
    for offset in (0, 64, 0):
        cache.read(offset, 4)
    assert fetched == [(0, 64), (64, 128), (0, 64)]
    cache.read(0, 300)
    cache.read(0, 300)
    assert fetched[3:] == [(0, 300), (0, 300)]


@pytest.mark.parametrize(("offset", "count"), [(1023, 2), (1024, 1), (2**63, 1), (0, 2**64), (-1, 4)])
def test_a_read_past_the_end_is_an_error(offset: int, count: int) -> None:
    cache, fetched = counting()
    with pytest.raises(DataError, match="it ends at byte 1024"):
        cache.read(offset, count)
    assert fetched == []


def test_a_stream_never_fills_a_buffer_in_part() -> None:
    stream = Hdf5Stream(counting()[0])
    assert stream.seek(-4, os.SEEK_END) == 1020
    buffer = bytearray(4)
    assert (stream.readinto(buffer), bytes(buffer), stream.tell()) == (4, DATA[-4:], 1024)
    assert stream.seek(1022) == 1022
    with pytest.raises(DataError):
        stream.readinto(bytearray(4))


def test_marks_and_values_are_read_as_they_are_now(tmp_path: Path) -> None:
    """An open partial store shows what a writer writes afterwards, though its metadata come from the cache."""
    m = manifest(3)
    values = arrays(m)
    spec = FeatureSpec(name="hubert", modality="audio", encoder="hubert", dimension=6)
    lengths = {id: len(a) for id, a in values.items()}
    with FeatureWriter(tmp_path / "s.h5", m, spec, lengths) as writer, FeatureStore(writer.partial) as store:
        feature = store["hubert"]
        assert store.manifest == m
        assert feature.marks().tolist() == [0, 0, 0]
        for n, id in enumerate(m.ids, 1):
            writer.put(id, values[id])
            assert np.count_nonzero(feature.marks()) == n
            np.testing.assert_array_equal(feature[id], values[id].astype("f2"))
