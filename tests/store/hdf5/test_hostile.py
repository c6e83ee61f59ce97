"""Files that somebody made to harm: each is refused in words that say what it is, with little memory, and at once."""

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
from store_seen import forked, seen

from emofuse.common.errors import DataError, EmofuseError, UsageError
from emofuse.manifests.schema import Excluded, Manifest, Utterance
from emofuse.store import FeatureData, FeatureStore, write_store
from emofuse.store.core.spec import index_digest
from emofuse.store.edit.repack import repack
from emofuse.store.hdf5.safe_read import put_text

M = manifest(6)
MEMORY = 1 << 29
"""Bytes that reading a hostile file may take."""


def made(path: Path) -> Path:
    write_store(path, M, {"hubert": FeatureData(modality="audio", arrays=arrays(M))})
    return path


def whole(path: Path) -> None:
    seen(path)
    with FeatureStore(path) as store:
        store.require_sound()


def told(path: Path, read: Callable[[Path], object] = whole) -> tuple[str, str]:
    """The error of reading all of a file, or of a feature in it, in a child of little memory."""

    def work() -> list[str]:
        pages = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (pages + MEMORY, pages + MEMORY))
        try:
            read(path)
        except EmofuseError as error:
            return [type(error).__name__, str(error)]
        return ["", ""]

    kind, message = forked(work, path.with_suffix(".told"))
    return kind, message


def instead(name: str, make: Callable[[h5py.File, str], Any]) -> Callable[[h5py.File], None]:
    """Put something else in the place of a node."""

    def change(file: h5py.File) -> None:
        del file[name]
        make(file, name)

    return change


def linked(link: Any) -> Callable[[h5py.File, str], None]:
    def make(file: h5py.File, name: str) -> None:
        file[name] = link

    return make


def dataset(*words: Any, **options: Any) -> Callable[[h5py.File, str], None]:
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
    """Change a column of the index, and its digest with it, as whoever wants to harm would."""

    def change(file: h5py.File) -> None:
        feature = file["features/hubert"]
        with FeatureStore(Path(file.filename)) as store:
            spec = store.feature("hubert").spec
        feature[name][...] = values(feature[name][()])
        index = [feature[k][()] for k in ("row", "start", "length", "source")]
        del feature.attrs["index_digest"]
        put_text(feature, "index_digest", index_digest(spec, index))

    return change


def nested(file: h5py.File) -> None:
    del file["features/hubert/fingerprint"]
    file["features/hubert/fingerprint"] = np.frombuffer(b'{"a":' + b"[" * 100_000, np.uint8)


def listed(file: h5py.File) -> None:
    del file["features/hubert/fingerprint"]
    file["features/hubert/fingerprint"] = np.frombuffer(b"[1,2]", np.uint8)


LATE = {"chunks": (1 << 16,), "dtype": "i8"}
F = "features/hubert"
HOSTILE: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "soft link": (instead(f"{F}/row", linked(h5py.SoftLink("/manifest/turn"))), "row is a link to elsewhere"),
    "soft link to nowhere": (instead("manifest", linked(h5py.SoftLink("/x"))), "manifest is a link to elsewhere"),
    "external link": (instead(F, linked(h5py.ExternalLink("/etc/passwd", "/"))), "hubert is a link to elsewhere"),
    "external storage": (
        instead(f"{F}/row", dataset(shape=(6,), dtype="i8", external=[("/etc/passwd", 0, 48)])),
        "keeps its values in another file; a store holds all of its own",
    ),
    "virtual dataset": (instead(f"{F}/row", virtual), "keeps its values in another file"),
    "texts of variable length": (
        instead("manifest/id", dataset(data=["a"] * 6, dtype=h5py.string_dtype())),
        "manifest/id is object",
    ),
    "references": (instead(f"{F}/row", dataset(shape=(6,), dtype=h5py.ref_dtype)), "row is object"),
    "compound": (instead(f"{F}/row", dataset(shape=(6,), dtype=[("a", "i8")])), "expected int64 of 1 dimensions"),
    "compressed": (
        instead(f"{F}/row", dataset(data=np.arange(6), compression="gzip")),
        "has filters .compression.*`emofuse store repack .*writes it anew",
    ),
    "a trillion rows": (instead(f"{F}/row", dataset(shape=(10**12,), **LATE)), "claims 8000000000000 bytes, the file"),
    "a trillion utterances": (
        instead("manifest/id_offsets", dataset(shape=(10**12,), **LATE)),
        "claims 8000000000000 bytes, the file",
    ),
    "a trillion compressed rows": (
        instead(f"{F}/length", dataset(shape=(10**12,), compression="gzip", **LATE)),
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
    "deep JSON": (nested, "fingerprint is no JSON: maximum recursion depth"),
    "a fingerprint that is a list": (listed, "holds list, expected a JSON object"),
    "a newer manifest": (attribute("manifest", "version", 99), "version 99, newer than 3: update emofuse"),
    "a newer store": (attribute("/", "version", 99), "store version 99, newer than 1: update emofuse"),
    "a newer feature": (attribute(F, "version", 99), "version 99, newer than 1: update emofuse"),
    "another modality": (attribute(F, "modality", "smell"), "'smell', expected audio or text"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_content(name: str, tmp_path: Path) -> None:
    path, (change, complaint) = made(tmp_path / "s.h5"), HOSTILE[name]
    with h5py.File(path, "r+", libver=("v110", "v110"), locking=False) as file:
        change(file)
    kind, message = told(path)
    assert kind, "it was read"
    assert str(path) in message
    with pytest.raises(EmofuseError, match=complaint):
        raise EmofuseError(message)


def test_repack_believes_no_compressed_size_either(tmp_path: Path) -> None:
    path = made(tmp_path / "s.h5")
    with h5py.File(path, "r+", libver=("v110", "v110"), locking=False) as file:
        HOSTILE["a trillion compressed rows"][0](file)
    kind, message = told(path, repack)
    assert kind == "DataError"
    assert "far more than the file can mean" in message


def test_a_dimension_whose_digest_is_right(tmp_path: Path) -> None:
    """Nothing is allocated for what the file has no bytes for."""
    path = made(tmp_path / "s.h5")
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
    kind, message = told(path)
    assert kind == "DataError"
    assert "its values are" in message


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", r"is no store: it is empty"),
        (b"some words\n", r"is no store but a text file"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'", r"a NumPy array; `emofuse store import`"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), r"is damaged or cut short.*take a copy"),
        (b"\x80\x04cos\nsystem\n(S'touch /tmp/x'\ntR.", r"a pickle; `emofuse store import`"),
    ],
)
def test_other_files(content: bytes, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    path.write_bytes(content)
    with pytest.raises(EmofuseError, match=complaint):
        FeatureStore(path)


def test_folders_and_other_programs_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder, not a store; name a file in it"):
        FeatureStore(tmp_path)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["\x1b[31mdata"] = 1
    with pytest.raises(UsageError, match="HDF5 file but no emofuse store") as caught:
        FeatureStore(tmp_path / "x.h5")
    assert "\x1b" not in str(caught.value)


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "emofuse.common.umbrella", "store", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


def test_nothing_of_a_file_reaches_the_terminal_as_it_is(tmp_path: Path) -> None:
    evil, path = "\x1b[2J\x1b]0;owned\x07\u202e", tmp_path / "s.h5"
    rows = tuple(
        Utterance(
            id=f"u{i}", audio=f"{evil}.wav", text=evil, label=evil, speaker=evil, session=evil, extra={evil: evil}
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
    path = made(tmp_path / "s.h5")
    with h5py.File(path, "r+", libver=("v110", "v110"), locking=False) as file:
        raw = file["manifest/audio"][()].tobytes()
        file["manifest/audio"][...] = np.frombuffer(raw.replace(b"wav/u000.wav", b"../../passwd"), np.uint8)
    with FeatureStore(path) as store, pytest.raises(DataError, match="leaves the corpus root"):
        assert store.manifest
