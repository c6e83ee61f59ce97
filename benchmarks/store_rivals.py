"""Methods of storing ragged features that `benchmarks/store.py` compares: write, open, read, size."""

from __future__ import annotations

import itertools
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from emofuse.manifests.schema import Manifest, Utterance
from emofuse.store import FeatureData, FeatureStore, write_store

Arrays = dict[str, NDArray[np.float16]]
Read = Callable[[list[str], NDArray[np.float16]], int]
"""Copies utterances end to end into a buffer and returns the number of frames."""


class Method(Protocol):
    """Stores features in `folder`."""

    def __init__(self, folder: Path) -> None: ...
    def write(self, arrays: Arrays) -> None: ...
    def opened(self) -> Any: ...


def gathered(read: Callable[[str], NDArray[np.float16]]) -> Read:
    """Fill a batch's buffer by a method that returns one array per utterance."""

    def batch(ids: list[str], buffer: NDArray[np.float16]) -> int:
        at = 0
        for id in ids:
            values = read(id)
            buffer[at : at + len(values)] = values
            at += len(values)
        return at

    return batch


class Ours:
    """emofuse, every checksum verified."""

    verify = True

    def __init__(self, folder: Path) -> None:
        self.path = folder / "store.h5"

    def write(self, arrays: Arrays) -> None:
        self.path.unlink(missing_ok=True)
        manifest = Manifest(corpus="bench", reader="bench-1", utterances=tuple(Utterance(id=i, text=i) for i in arrays))
        write_store(self.path, manifest, {"hubert": FeatureData(modality="audio", arrays=arrays)})

    @contextmanager
    def opened(self) -> Iterator[Read]:
        with FeatureStore(self.path) as store:
            feature = store.feature("hubert")
            yield lambda ids, buffer: int(feature.read(ids, verify=self.verify, out=buffer).lengths.sum())


class OursUnverified(Ours):
    """emofuse, checksums not verified."""

    verify = False


class PlainH5py(Ours):
    """The same file through h5py alone."""

    @contextmanager
    def opened(self) -> Iterator[Read]:
        with h5py.File(self.path, "r", rdcc_nbytes=0) as file:
            group = file["features/hubert"]
            ends, names = file["manifest/id_offsets"][()], file["manifest/id"][()].tobytes()
            ids = [names[a:b].decode() for a, b in itertools.pairwise(ends)]
            columns = (group[k][()].tolist() for k in ("row", "start", "length"))
            where = {ids[r]: (s, s + n) for r, s, n in zip(*columns, strict=True)}
            values = group["values"]

            def batch(ids: list[str], buffer: NDArray[np.float16]) -> int:
                at = 0
                for id in ids:
                    first, end = where[id]
                    values.read_direct(buffer, np.s_[first:end], np.s_[at : at + end - first])
                    at += end - first
                return at

            yield batch


class Npy:
    """One .npy per utterance, loose in a folder (EmoBox, MERBench)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "npy"
        self.folder.mkdir()

    def write(self, arrays: Arrays) -> None:
        for id, values in arrays.items():
            np.save(self.folder / f"{id}.npy", values)
        os.sync()

    @contextmanager
    def opened(self) -> Iterator[Read]:
        yield gathered(lambda id: np.load(self.folder / f"{id}.npy"))


class Pickle:
    """One pickle of everything (MMSA, conv-emotion): opening it loads it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "all.pkl"

    def write(self, arrays: Arrays) -> None:
        with self.path.open("wb") as file:
            pickle.dump(arrays, file, protocol=pickle.HIGHEST_PROTOCOL)
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def opened(self) -> Iterator[Read]:
        with self.path.open("rb") as file:
            arrays = pickle.load(file)
        yield gathered(arrays.__getitem__)


class Lhotse:
    """lhotse's feature storage; one array per key."""

    name = "NumpyHdf5"

    def __init__(self, folder: Path) -> None:
        self.path = folder / self.name
        self.keys: dict[str, str] = {}

    def write(self, arrays: Arrays) -> None:
        from lhotse.features import io

        with getattr(io, f"{self.name}Writer")(str(self.path), **self.options) as writer:
            self.keys = {id: writer.write(id, values) for id, values in arrays.items()}
            where = Path(writer.storage_path)
        self.where = where
        os.sync()

    options: dict[str, Any] = {"mode": "w"}  # noqa: RUF012 - a constant

    @contextmanager
    def opened(self) -> Iterator[Read]:
        from lhotse.features import io

        reader = getattr(io, f"{self.name}Reader")(str(self.where))
        yield gathered(lambda id: reader.read(self.keys[id]))


class LhotseFiles(Lhotse):
    """lhotse's one file per utterance."""

    name = "NumpyFiles"
    options: dict[str, Any] = {}  # noqa: RUF012


class LhotseLilcom(Lhotse):
    """lhotse's default: chunks under its own lossy compression."""

    name = "LilcomChunky"


class HuggingFace:
    """Hugging Face datasets, saved to disk: one array per row, read in its numpy format."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "huggingface"

    def write(self, arrays: Arrays) -> None:
        import datasets

        datasets.disable_progress_bars()
        width = next(iter(arrays.values())).shape[1]
        values = datasets.Array2D(shape=(None, width), dtype="float16")
        features = datasets.Features({"id": datasets.Value("string"), "values": values})
        rows = {"id": [*arrays], "values": [*arrays.values()]}
        datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(self.path))
        os.sync()

    @contextmanager
    def opened(self) -> Iterator[Read]:
        import datasets

        table = datasets.load_from_disk(str(self.path)).with_format("numpy")
        place = {id: i for i, id in enumerate(table["id"])}

        def batch(ids: list[str], buffer: NDArray[np.float16]) -> int:
            at = 0
            for values in table[[place[i] for i in ids]]["values"]:
                buffer[at : at + len(values)] = values
                at += len(values)
            return at

        yield batch


class HuggingFaceFlat:
    """Hugging Face datasets, saved to disk: flat lists, read as arrow, its fastest mode."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "huggingface"

    def write(self, arrays: Arrays) -> None:
        import datasets

        datasets.disable_progress_bars()
        flat = datasets.List(datasets.Value("float16"))
        features = datasets.Features({"id": datasets.Value("string"), "values": flat})
        rows = {"id": [*arrays], "values": [a.reshape(-1) for a in arrays.values()]}
        datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(self.path))
        self.width = next(iter(arrays.values())).shape[1]
        os.sync()

    @contextmanager
    def opened(self) -> Iterator[Read]:
        import datasets

        table = datasets.load_from_disk(str(self.path))
        place = {id: i for i, id in enumerate(table["id"])}
        rows = table.with_format("arrow")

        def batch(ids: list[str], buffer: NDArray[np.float16]) -> int:
            found = rows[[place[i] for i in ids]]["values"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            frames = len(found) // self.width
            buffer[:frames] = found.reshape(-1, self.width)
            return frames

        yield batch


class Zarr:
    """zarr 3: one array of all frames, uncompressed, and the index beside it in memory."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "zarr"

    def write(self, arrays: Arrays) -> None:
        import zarr

        frames, width = sum(map(len, arrays.values())), next(iter(arrays.values())).shape[1]
        into = zarr.create_array(
            str(self.path), shape=(frames, width), chunks=(170, width), dtype="f2", compressors=None, overwrite=True
        )
        at, self.where = 0, {}
        for id, values in arrays.items():
            into[at : at + len(values)] = values
            self.where[id] = (at, at + len(values))
            at += len(values)
        os.sync()

    @contextmanager
    def opened(self) -> Iterator[Read]:
        import zarr

        values = zarr.open_array(str(self.path), mode="r")
        yield gathered(lambda id: values[slice(*self.where[id])])


METHODS: dict[str, type[Any]] = {
    "emofuse": Ours,
    "emofuse, unverified": OursUnverified,
    "the same file by h5py": PlainH5py,
    "npy per utterance": Npy,
    "one pickle": Pickle,
    "lhotse NumpyHdf5": Lhotse,
    "lhotse NumpyFiles": LhotseFiles,
    "lhotse LilcomChunky (lossy)": LhotseLilcom,
    "Hugging Face datasets": HuggingFace,
    "Hugging Face, flat arrow": HuggingFaceFlat,
    "zarr, uncompressed": Zarr,
}
