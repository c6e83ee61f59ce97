"""Files that are not stores, or newer or cut short: the message names what they are, and what to do."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import pytest
from store_samples import arrays, manifest

from emofuse.common.errors import DataError, UsageError
from emofuse.store import FeatureData, FeatureStore, write_store


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_cut_file_is_refused(tmp_path: Path, share: float) -> None:
    path, m = tmp_path / "s.h5", manifest(50)
    write_store(path, m, {"hubert": FeatureData(modality="audio", arrays=arrays(m, dimension=300))})
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(DataError, match=r"s\.h5 is damaged or cut short"):
        FeatureStore(path)


def test_newer_versions_are_an_error_of_their_own(tmp_path: Path) -> None:
    m = manifest()
    for node, complaint in (
        ("/", "store version 9, newer than 1"),
        ("/features/hubert", "version 9, newer than 2: update emofuse"),
    ):
        path = tmp_path / f"{len(node)}.h5"
        write_store(path, m, {"hubert": FeatureData(modality="audio", arrays=arrays(m))})
        with h5py.File(path, "r+") as file:
            file[node].attrs["version"] = 9
        with pytest.raises(UsageError, match=complaint):
            FeatureStore(path)


@pytest.mark.parametrize(
    ("content", "kind", "expected"),
    [
        (b"id,label\nu1,hap\n", UsageError, "is not a store but a text file; a store is made by `extract`"),
        ("Sätze".encode() * 200, UsageError, "is not a store but a text file"),
        (b"\x93NUMPY\x01\x00v\x00", UsageError, "is not a store but a NumPy array; `emofuse store import`"),
        (b"\x80\x04\x95", UsageError, "is not a store but a pickle; `emofuse store import`"),
        (b"RIFF\x00\x00", UsageError, "a RIFF (wav) file; `extract` makes stores of audio"),
        (b"PK\x03\x04", UsageError, "is not a store but a zip archive"),
        (b"", DataError, "is not a store: it is empty"),
        (b"\x00" * 4096, DataError, "does not begin as HDF5 files do"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes, kind: type[Exception], expected: str) -> None:
    path = tmp_path / "x.h5"
    path.write_bytes(content)
    with pytest.raises(kind) as caught:
        FeatureStore(path)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)


def test_folders_and_other_hdf5_files_are_no_stores(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is a folder, not a store; name a file in it"):
        FeatureStore(tmp_path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(UsageError, match=r"an HDF5 file but not an emofuse store \(it has 'x'\)"):
        FeatureStore(tmp_path / "other.h5")
