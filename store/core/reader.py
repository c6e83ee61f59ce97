"""Opens a store: small things through h5py, values by positioned reads (see `Feature`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import xxhash

from emofuse.common.errors import DataError, UnknownNameError, UsageError
from emofuse.common.lazy import lazy
from emofuse.common.location import Location, location
from emofuse.common.system.interrupts import uninterrupted
from emofuse.manifests.schema import Manifest
from emofuse.store.core.feature import Feature
from emofuse.store.core.manifest_columns import read_columns
from emofuse.store.core.spec import STORE_VERSION
from emofuse.store.hdf5 import safe_read
from emofuse.store.hdf5.byte_source import ByteStream, LocalFile, read_whole
from emofuse.store.hdf5.file_types import refuse_other_kinds
from emofuse.store.hdf5.guard import refuse_unexpected_structures
from emofuse.store.hdf5.remote import open_source

HDF5_ERRORS = (OSError, KeyError, IndexError, ValueError, TypeError, RuntimeError, MemoryError, OverflowError)
"""What h5py raises over a file that is not as it should be."""


class FeatureStore:
    """An open store, for reading; use it as a context manager.

    It may be read by several threads, by forked processes, and after pickling (it opens the file again). Readers take
    no locks and are never blocked: a writer puts a new file in the place of this one, which stays as it is.

    Args:
        path: A file, or a URL that fsspec knows (`s3://`, `https://`, `gs://`): read by ranges, nothing is downloaded.

    Raises:
        UsageError: No file there, another kind of file, or a version newer than this one knows.
        DataError: Damaged or cut short.
    """

    def __init__(self, path: Location) -> None:
        self.path = location(path)
        self.source = open_source(self.path)
        """Its bytes."""
        self.damaged_features: dict[str, DataError] = {}
        """Features whose index cannot be trusted, and why; the others are as good as ever."""
        self.features: dict[str, Feature] = {}
        try:
            refuse_other_kinds(self.path, self.source)
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        try:
            refuse_unexpected_structures(self.source)
            with self._hdf5() as file:
                self._check_type(file)
                self.corpus = safe_read.text(file, "corpus")
                manifest = safe_read.child(file, "manifest", h5py.Group)
                self.manifest_digest = safe_read.text(manifest, "digest")
                """What the manifest's columns must come to."""
                utterances = len(safe_read.dataset(manifest, "id_offsets", np.int64)) - 1
                features = safe_read.child(file, "features", h5py.Group)
                for name in sorted(features):
                    try:
                        self.features[name] = Feature(
                            self, safe_read.child(features, name, h5py.Group), name, utterances
                        )
                    except UsageError as error:
                        raise UsageError(f"{self.path}: {error}") from None
                    except safe_read.ForeignLayoutError as error:
                        self.damaged_features[name] = self._foreign(f"feature {name!r}: {error}")
                    except (DataError, *HDF5_ERRORS) as error:
                        told = f"{self.path}: feature {name!r} is damaged or cut short: {error}"
                        self.damaged_features[name] = DataError(
                            f"{told}; `emofuse store verify --repair {self.path}` drops it"
                        )
        except safe_read.ForeignLayoutError as error:
            raise self._foreign(str(error)) from None
        except (DataError, *HDF5_ERRORS) as error:
            raise DataError(
                f"{self.path} is damaged or cut short: {error}; take a copy of it from elsewhere, or delete it and "
                "extract again"
            ) from None

    def _foreign(self, told: str) -> safe_read.ForeignLayoutError:
        return safe_read.ForeignLayoutError(
            f"{self.path} was laid out by another program ({told}); `emofuse store repack {self.path}` writes it anew"
        )

    def __reduce__(self) -> tuple[Any, tuple[Location, str]]:
        return _reopened, (self.path, self.identity)

    @property
    def identity(self) -> str:
        """Changes with anything that a reader could be given, values among it; cheaper than `digest`."""
        state = xxhash.xxh3_128(self.manifest_digest.encode())
        for feature in self.features.values():
            state.update(f"{feature.name}:{feature.index_digest}".encode())
            state.update(feature.marks().tobytes())
        return state.hexdigest()

    @contextlib.contextmanager
    def _hdf5(self) -> Iterator[h5py.File]:
        """HDF5's view of the very file that was opened, also after a writer has put another in its place; no locks."""
        moments = uninterrupted() if isinstance(self.source, LocalFile) else contextlib.nullcontext()
        with moments, h5py.File(ByteStream(self.source), "r", rdcc_nbytes=0) as file:
            yield file

    @lazy
    def manifest(self) -> Manifest:
        """Every utterance that the store knows, read when it is first asked for.

        Raises:
            UsageError: Its version is newer than this one knows.
            DataError: Its columns are damaged.
        """
        try:
            with self._hdf5() as file:
                return read_columns(safe_read.child(file, "manifest", h5py.Group), self.corpus)
        except UsageError as error:
            raise UsageError(f"{self.path}: {error}") from None
        except safe_read.ForeignLayoutError as error:
            raise self._foreign(str(error)) from None
        except (DataError, *HDF5_ERRORS) as error:
            raise DataError(
                f"{self.path}: the manifest is damaged: {error}. The features are untouched: `emofuse store verify "
                f"--repair --manifest M {self.path}` takes the same manifest from a JSON Lines file or another store"
            ) from None

    def _check_type(self, file: h5py.File) -> None:
        if "type" not in file.attrs or safe_read.text(file, "type") != "emofuse-store":
            held = ", ".join(repr(name) for name, _ in zip(file, range(5), strict=False))
            raise UsageError(f"{self.path} is an HDF5 file but no emofuse store (it holds {held or 'nothing'})")
        version = safe_read.integer(file, "version")
        if version > STORE_VERSION:
            raise UsageError(f"{self.path} has store version {version}, newer than {STORE_VERSION}: update emofuse")
        if version < 1:
            raise DataError(f"it has store version {version}, which there never was")

    def take_manifest(self, manifest: Manifest) -> None:
        """Let a manifest from elsewhere stand in for columns that are damaged.

        Raises:
            UsageError: It is not the one that this store was written with.
        """
        if manifest.digest() != self.manifest_digest:
            raise UsageError(
                f"{self.path} was written with the manifest of digest {self.manifest_digest}; this one's is "
                f"{manifest.digest()} ({len(manifest)} utterances of {manifest.corpus})"
            )
        vars(self)["manifest"] = manifest

    @property
    def nbytes(self) -> int:
        """Bytes of the file."""
        return self.source.length

    @property
    def digest(self) -> str:
        """Changes with the manifest and with the index and fingerprint of any feature."""
        parts = [self.manifest.digest(), *(f"{f.name}:{f.index_digest}" for f in self.features.values())]
        return xxhash.xxh3_128_hexdigest("\n".join(parts).encode())

    def feature(self, name: str) -> Feature:
        """A feature by name; an unknown name lists those that the store has.

        Raises:
            UnknownNameError: The store has no such feature.
            DataError: It has, and its index is damaged.
        """
        if name in self.damaged_features:
            raise self.damaged_features[name]
        if name not in self.features:
            raise UnknownNameError(f"feature in {self.path}", name, self.features)
        return self.features[name]

    def require_sound(self) -> FeatureStore:
        """The store itself, where every feature can be read: whoever writes it anew would lose the others.

        Raises:
            DataError: Features whose index is damaged.
        """
        for error in self.damaged_features.values():
            raise error
        return self

    def pread(self, count: int, offset: int) -> bytes:
        """Exactly `count` bytes at `offset`; a file that ends before is an error, never zeros."""
        if not self.contains(offset, count):
            raise DataError(f"{self.path} ends at byte {self.source.length}: it was cut short")
        buffer = bytearray(count)
        read_whole(self.source, memoryview(buffer), offset)
        return bytes(buffer)

    def contains(self, offset: int, count: int) -> bool:
        """Whether the file is long enough to hold `count` bytes at `offset`."""
        return offset >= 0 and count >= 0 and offset + count <= self.source.length

    def close(self) -> None:
        """Close the file."""
        self.source.close()

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _reopened(path: Location, identity: str) -> FeatureStore:
    """A store in another process, which must be the very one that was pickled."""
    store = FeatureStore(path)
    if store.identity != identity:
        store.close()
        raise DataError(f"{path} has been replaced since it was opened; open it again, and start the workers anew")
    return store
