"""Files made to harm: each is refused at once, with a clear message and little memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from store_samples import arrays, manifest
from store_seen import in_child, read_everything

from emofuse.common.errors import DataError, EmofuseError, UsageError
from emofuse.manifests.schema import Excluded, Manifest, Utterance
from emofuse.store import FeatureData, FeatureStore, write_store
from emofuse.store.core.spec import index_digest
from emofuse.store.edit.repack import repack
from emofuse.store.hdf5.safe_read import put_text

M = manifest(6)
MEMORY = 1 << 29
"""Bytes that reading a hostile file may take."""


def small_store(path: Path) -> Path:
    write_store(path, M, {"hubert": FeatureData(modality="audio", arrays=arrays(M))})
    return path


def read_all(path: Path) -> None:
    read_everything(path)
    with FeatureStore(path) as store:
        store.require_intact()


def error_of(path: Path, read: Callable[[Path], object] = read_all) -> tuple[str, str]:
    """Type and message of the error of reading a file, in a child with little memory; empty where there is none."""

    def work() -> list[str]:
        pages = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (pages + MEMORY, pages + MEMORY))
        try:
            read(path)
        except EmofuseError as error:
            return [type(error).__name__, str(error)]
        return ["", ""]

    kind, message = in_child(work, path.with_suffix(".log"))
    return kind, message


def put(name: str, make: Callable[[h5py.File, str], Any]) -> Callable[[h5py.File], None]:
    """Replace a node by something else."""

    def change(file: h5py.File) -> None:
        del file[name]
        make(file, name)

    return change


def link_to(link: Any) -> Callable[[h5py.File, str], None]:
    def make(file: h5py.File, name: str) -> None:
        file[name] = link

    return make


def new_dataset(*words: Any, **options: Any) -> Callable[[h5py.File, str], None]:
    def make(file: h5py.File, name: str) -> None:
        file.create_dataset(name, *words, **options)

    return make


def virtual(file: h5py.File, name: str) -> None:
    layout = h5py.VirtualLayout((10**6,), "i8")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (10**6,))
    file.create_virtual_dataset(name, layout)


def attribute(node: str, name: str, value: Any, **options: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[node].attrs[name]
        file[node].attrs.create(name, value, **options)

    return change


def column(name: str, values: Callable[[Any], Any]) -> Callable[[h5py.File], None]:
    """Change a column of the index, and its digest with it, as an attacker would."""

    def change(file: h5py.File) -> None:
        feature = file["features/hubert"]
        with FeatureStore(Path(file.filename)) as store:
            spec = store.feature("hubert").spec
        feature[name][...] = values(feature[name][()])
        index = [feature[k][()] for k in ("row", "start", "length", "source")]
        del feature.attrs["index_digest"]
        put_text(feature, "index_digest", index_digest(spec, index))

    return change


def deeply_nested(file: h5py.File) -> None:
    del file["features/hubert/fingerprint"]
    file["features/hubert/fingerprint"] = np.frombuffer(b'{"a":' + b"[" * 100_000, np.uint8)


def json_list(file: h5py.File) -> None:
    del file["features/hubert/fingerprint"]
    file["features/hubert/fingerprint"] = np.frombuffer(b"[1,2]", np.uint8)


LATE = {"chunks": (1 << 16,), "dtype": "i8"}
F = "features/hubert"
HOSTILE: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "soft link": (put(f"{F}/row", link_to(h5py.SoftLink("/manifest/turn"))), "row is a link to another place"),
    "soft link to nowhere": (
        put("manifest", link_to(h5py.SoftLink("/x"))),
        "manifest is a link to another place",
    ),
    "external link": (
        put(F, link_to(h5py.ExternalLink("/etc/passwd", "/"))),
        "hubert is a link to another place",
    ),
    "external storage": (
        put(f"{F}/row", new_dataset(shape=(6,), dtype="i8", external=[("/etc/passwd", 0, 48)])),
        "has its values in another file; a store has all values in its own file",
    ),
    "virtual dataset": (put(f"{F}/row", virtual), "has its values in another file"),
    "texts of variable length": (
        put("manifest/id", new_dataset(data=["a"] * 6, dtype=h5py.string_dtype())),
        "manifest/id is object",
    ),
    "references": (put(f"{F}/row", new_dataset(shape=(6,), dtype=h5py.ref_dtype)), "row is object"),
    "compound": (
        put(f"{F}/row", new_dataset(shape=(6,), dtype=[("a", "i8")])),
        "expected int64 of 1 dimensions",
    ),
    "compressed": (
        put(f"{F}/row", new_dataset(data=np.arange(6), compression="gzip")),
        "has filters .compression.*`emofuse store repack .*restores its layout",
    ),
    "a trillion rows": (
        put(f"{F}/row", new_dataset(shape=(10**12,), **LATE)),
        "declares 8000000000000 bytes, the file",
    ),
    "a trillion utterances": (
        put("manifest/id_offsets", new_dataset(shape=(10**12,), **LATE)),
        "declares 8000000000000 bytes, the file",
    ),
    "a trillion compressed rows": (
        put(f"{F}/length", new_dataset(shape=(10**12,), compression="gzip", **LATE)),
        "has filters",
    ),
    "negative lengths": (column("length", lambda v: -v), "do not lie end to end"),
    "lengths that overflow": (column("length", lambda v: v * 0 + 2**62), "do not lie end to end"),
    "places that overflow": (column("start", lambda v: v + np.int64(2**62)), "do not lie end to end"),
    "rows past the manifest": (column("row", lambda v: v + 1), "reach past the 6 utterances of the manifest"),
    "rows twice": (column("row", lambda v: v * 0), "rows are not ascending"),
    "four hundred layers": (attribute(F, "layers", np.zeros(400, "i8")), "index is damaged; the digest does not match"),
    "eight thousand layers": (attribute(F, "layers", np.zeros(8000, "i8")), "is not as HDF5 writes it"),
    "dimension 10^15": (attribute(F, "dimension", 10**15), "index is damaged; the digest does not match"),
    "dimension 0": (attribute(F, "dimension", 0), "at least 1 is needed"),
    "a dimension of text": (attribute(F, "dimension", "six"), "is str, expected an integer"),
    "many names": (attribute("/", "corpus", ["a"] * 500), "attribute 'corpus' of / has shape"),
    "deep JSON": (deeply_nested, "fingerprint is not JSON: maximum recursion depth"),
    "a fingerprint that is a list": (json_list, "holds list, expected a JSON object"),
    "a newer manifest": (attribute("manifest", "version", 99), "version 99, newer than 3: update emofuse"),
    "a newer store": (attribute("/", "version", 99), "store version 99, newer than 1: update emofuse"),
    "a newer feature": (attribute(F, "version", 99), "version 99, newer than 2: update emofuse"),
    "another modality": (attribute(F, "modality", "smell"), "'smell', expected audio or text"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_content(name: str, tmp_path: Path) -> None:
    path, (change, expected) = small_store(tmp_path / "s.h5"), HOSTILE[name]
    with h5py.File(path, "r+", libver=("v110", "v110"), locking=False) as file:
        change(file)
    kind, message = error_of(path)
    assert kind, "it was read"
    assert str(path) in message
    with pytest.raises(EmofuseError, match=expected):
        raise EmofuseError(message)


def test_repack_does_not_trust_a_compressed_size_either(tmp_path: Path) -> None:
    path = small_store(tmp_path / "s.h5")
    with h5py.File(path, "r+", libver=("v110", "v110"), locking=False) as file:
        HOSTILE["a trillion compressed rows"][0](file)
    kind, message = error_of(path, repack)
    assert kind == "DataError"
    assert "far more than a file of this size can have" in message


def test_a_dimension_whose_digest_is_right(tmp_path: Path) -> None:
    """Nothing is allocated for what the file has no bytes for."""
    path = small_store(tmp_path / "s.h5")
    with FeatureStore(path) as store:
        spec = store.feature("hubert").spec
    with h5py.File(path, "r+", libver=("v110", "v110"), locking=False) as file:
        feature = file["features/hubert"]
        wide = replace(spec, dimension=10**15)
        feature.attrs["dimension"] = 10**15
        del feature.attrs["index_digest"]
        put_text(
            feature, "index_digest", index_digest(wide, [feature[k][()] for k in ("row", "start", "length", "source")])
        )
    kind, message = error_of(path)
    assert kind == "DataError"
    assert "its values are" in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", r"is not a store: it is empty"),
        (b"some words\n", r"is not a store but a text file"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'", r"a NumPy array; `emofuse store import`"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), r"is damaged or cut short.*take a copy"),
        (b"\x80\x04cos\nsystem\n(S'touch /tmp/x'\ntR.", r"a pickle; `emofuse store import`"),
    ],
)
def test_other_files(content: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    path.write_bytes(content)
    with pytest.raises(EmofuseError, match=expected):
        FeatureStore(path)


def test_folders_and_other_programs_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder, not a store; name a file in it"):
        FeatureStore(tmp_path)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["\x1b[31mdata"] = 1
    with pytest.raises(UsageError, match="HDF5 file but not an emofuse store") as caught:
        FeatureStore(tmp_path / "x.h5")
    assert "\x1b" not in str(caught.value)


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "emofuse.common.umbrella", "store", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


def test_nothing_of_a_file_reaches_the_terminal_unescaped(tmp_path: Path) -> None:
    evil, path = "\x1b[2J\x1b]0;owned\x07\u202e", tmp_path / "s.h5"
    rows = tuple(
        Utterance(
            id=f"u{i}",
            audio=f"{evil}.wav",
            text=evil,
            label=evil,
            speaker=evil,
            session=evil,
            extra={evil: evil},
        )
        for i in range(3)
    )
    lost = (Excluded(id=evil, reason=evil), Excluded(id="y", reason=evil, modality=evil))
    m = Manifest(corpus=evil, reader=evil, utterances=rows, excluded=lost)
    data = FeatureData(
        modality="audio",
        arrays={u.id: np.ones((2, 2)) for u in rows},
        encoder=evil,
        fingerprint={evil: evil},
        provenance={evil: evil},
    )
    write_store(path, m, {"f": data})
    for words in (["info"], ["ls"], ["verify"], ["info", "--json"]):
        done = run(*words, path)
        assert done.returncode == 0, done.stderr
        assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout + done.stderr), words
    for words in (["show", path, "u1"], ["show", path, "u9"], ["rm", path, "x"], ["rm", path, "--speaker", "x"]):
        done = run(*words)
        assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout.replace("\x1b[0m", "") + done.stderr), words


def test_a_path_in_a_store_stays_inside_as_well(tmp_path: Path) -> None:
    path = small_store(tmp_path / "s.h5")
    with h5py.File(path, "r+", libver=("v110", "v110"), locking=False) as file:
        raw = file["manifest/audio"][()].tobytes()
        file["manifest/audio"][...] = np.frombuffer(raw.replace(b"wav/u000.wav", b"../../passwd"), np.uint8)
    with FeatureStore(path) as store, pytest.raises(DataError, match="leaves the corpus root"):
        assert store.manifest
