"""The open file of a store: its bytes, HDF5's view of them, and its manifest."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from emofuse.common.errors import DataError, UsageError
from emofuse.common.lazy import lazy_property
from emofuse.common.location import Location, parse_location
from emofuse.common.output.console import plural
from emofuse.common.system.interrupts import uninterrupted
from emofuse.manifests.schema import Manifest
from emofuse.store.core.manifest_columns import read_columns
from emofuse.store.core.spec import STORE_VERSION
from emofuse.store.hdf5 import safe_read
from emofuse.store.hdf5.block_cache import Hdf5Stream
from emofuse.store.hdf5.byte_source import LocalFile, read_whole
from emofuse.store.hdf5.file_types import refuse_other_types
from emofuse.store.hdf5.guard import refuse_unexpected_structures
from emofuse.store.hdf5.remote import open_source

HDF5_ERRORS = (OSError, KeyError, IndexError, ValueError, TypeError, RuntimeError, MemoryError, OverflowError)
"""What h5py raises over a damaged file."""


class StoreFile:
    """An open store file. It stays the file that was opened when a writer puts another one in its place.

    Args:
        path: A file, or a URL that fsspec knows.

    Raises:
        UsageError: No file there, or not an HDF5 file.
        DataError: Empty, or its beginning is damaged.
    """

    corpus: str
    manifest_digest: str
    """What the digest of the manifest must be."""

    def __init__(self, path: Location | str) -> None:
        self.path = parse_location(path)
        self.source = open_source(self.path)
        """The bytes of the file."""
        try:
            refuse_other_types(self.path, self.source)
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def hdf5(self) -> Iterator[h5py.File]:
        """HDF5's view of the file, without locks.

        Only for what no writer changes after the file was created: it goes through a cache of blocks.
        """
        no_interrupt = uninterrupted() if isinstance(self.source, LocalFile) else contextlib.nullcontext()
        with no_interrupt, h5py.File(Hdf5Stream(self.source.metadata), "r", rdcc_nbytes=0) as file:
            yield file

    @contextlib.contextmanager
    def opened(self) -> Iterator[tuple[h5py.File, int]]:
        """The checked file as (HDF5's view, number of utterances), to read its features from.

        Raises:
            UsageError: Not a store, or of a newer version.
            ForeignLayoutError: Another program has rewritten it.
            DataError: Damaged or cut short.
        """
        try:
            refuse_unexpected_structures(self.source.metadata)
            with self.hdf5() as file:
                self._check_type(file)
                self.corpus = safe_read.text(file, "corpus")
                manifest = safe_read.child(file, "manifest", h5py.Group)
                self.manifest_digest = safe_read.text(manifest, "digest")
                yield file, len(safe_read.dataset(manifest, "id_offsets", np.int64)) - 1
        except safe_read.ForeignLayoutError as error:
            raise self.foreign_layout(str(error)) from None
        except (DataError, *HDF5_ERRORS) as error:
            raise DataError(
                f"{self.path} is damaged or cut short: {error}; take a copy of it from elsewhere, or delete it and "
                "extract again"
            ) from None

    def _check_type(self, file: h5py.File) -> None:
        if "type" not in file.attrs or safe_read.text(file, "type") != "emofuse-store":
            content = ", ".join(repr(name) for name, _ in zip(file, range(5), strict=False))
            raise UsageError(f"{self.path} is an HDF5 file but not an emofuse store (it has {content or 'nothing'})")
        version = safe_read.integer(file, "version")
        if version > STORE_VERSION:
            raise UsageError(f"{self.path} has store version {version}, newer than {STORE_VERSION}: update emofuse")
        if version < 1:
            raise DataError(f"it has store version {version}, which does not exist")

    def foreign_layout(self, reason: str) -> safe_read.ForeignLayoutError:
        """The error of a file that another program has rewritten."""
        return safe_read.ForeignLayoutError(
            f"{self.path} was rewritten by another program ({reason}); `emofuse store repack {self.path}` restores its "
            "layout"
        )

    @lazy_property
    def manifest(self) -> Manifest:
        """Every utterance that the store knows; read at the first use.

        Raises:
            UsageError: Its version is newer than this one knows.
            DataError: Its columns are damaged.
        """
        try:
            with self.hdf5() as file:
                return read_columns(safe_read.child(file, "manifest", h5py.Group), self.corpus)
        except UsageError as error:
            raise UsageError(f"{self.path}: {error}") from None
        except safe_read.ForeignLayoutError as error:
            raise self.foreign_layout(str(error)) from None
        except (DataError, *HDF5_ERRORS) as error:
            raise DataError(
                f"{self.path}: the manifest is damaged: {error}. The features are untouched: `emofuse store verify "
                f"--repair --manifest M {self.path}` takes the same manifest from a JSON Lines file or another store"
            ) from None

    def take_manifest(self, manifest: Manifest) -> None:
        """Use a manifest from elsewhere where the columns are damaged.

        Raises:
            UsageError: It is not the one that this store was written with.
        """
        if manifest.digest() != self.manifest_digest:
            raise UsageError(
                f"{self.path} was written with the manifest of digest {self.manifest_digest}; this one's is "
                f"{manifest.digest()} ({plural(len(manifest), 'utterance')} of {manifest.corpus})"
            )
        vars(self)["manifest"] = manifest

    def pread(self, count: int, offset: int) -> bytes:
        """The `count` bytes at `offset`, as they are in the file now.

        Raises:
            DataError: The file ends before.
        """
        if not self.contains(offset, count):
            raise DataError(f"{self.path} ends at byte {self.source.length}: it was cut short")
        buffer = bytearray(count)
        read_whole(self.source, memoryview(buffer), offset)
        return bytes(buffer)

    def contains(self, offset: int, count: int) -> bool:
        """Whether the file is long enough to have `count` bytes at `offset`."""
        return offset >= 0 and count >= 0 and offset + count <= self.source.length

    def rename(self, target: Path) -> None:
        """Move a local file to `target`, whose place it takes; it stays open."""
        assert isinstance(self.path, Path)
        self.path.replace(target)
        self.path = target

    def close(self) -> None:
        """Close the file."""
        self.source.close()
