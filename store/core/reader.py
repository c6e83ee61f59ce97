"""Opens a store: metadata through h5py, values by reads at their offset (see `Feature`)."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any

import h5py
import xxhash

from emofuse.common.errors import DataError, UnknownNameError, UsageError
from emofuse.common.location import Location
from emofuse.common.output.console import plural
from emofuse.common.output.rich_display import html_display
from emofuse.manifests.schema import Manifest
from emofuse.store.core.feature import Feature
from emofuse.store.core.store_file import HDF5_ERRORS, StoreFile
from emofuse.store.hdf5 import safe_read


class FeatureStore:
    """An open store, for reading; use it as a context manager.

    Several threads and forked processes may read from it, and so may a process that it is pickled to (it opens the file
    again). Readers take no locks and are never blocked: a writer puts a new file in the place of this one, which stays
    as it is.

    Example:
        >>> with FeatureStore("cache/iemocap.h5") as store:
        ...     names = list(store)                           # ["bert", "hubert"]
        ...     hubert = store["hubert"]                      # a Feature
        ...     values = hubert["Ses01F_impro01_F000"]        # [T, D], checksum verified
        ...     label = store.manifest.utterances[0].label

    Args:
        path: A file, or a URL that fsspec knows (`s3://`, `https://`, `gs://`): it is read by range requests, not
            downloaded.

    Raises:
        UsageError: No file there, another type of file, or a version newer than this one knows.
        DataError: Damaged or cut short.
    """

    def __init__(self, path: Location | str) -> None:
        self.file = StoreFile(path)
        self.damaged_features: dict[str, DataError] = {}
        """Features whose index cannot be trusted, and why; the other features are not affected."""
        self.features: dict[str, Feature] = {}
        try:
            with self.file.opened() as (file, utterances):
                group = safe_read.child(file, "features", h5py.Group)
                for name in sorted(group):
                    self._open_feature(group, name, utterances)
        except BaseException:
            self.close()
            raise

    def _open_feature(self, features: h5py.Group, name: str, utterances: int) -> None:
        try:
            group = safe_read.child(features, name, h5py.Group)
            self.features[name] = Feature(self.file, group, name, utterances)
        except UsageError as error:
            raise UsageError(f"{self.path}: {error}") from None
        except safe_read.ForeignLayoutError as error:
            self.damaged_features[name] = self.file.foreign_layout(f"feature {name!r}: {error}")
        except (DataError, *HDF5_ERRORS) as error:
            self.damaged_features[name] = DataError(
                f"{self.path}: feature {name!r} is damaged or cut short: {error}; `emofuse store verify --repair "
                f"{self.path}` drops it"
            )

    @property
    def path(self) -> Location:
        """The file, or its URL."""
        return self.file.path

    @property
    def corpus(self) -> str:
        """Name of the corpus."""
        return self.file.corpus

    @property
    def manifest(self) -> Manifest:
        """Every utterance that the store knows; read at the first use.

        Raises:
            UsageError: Its version is newer than this one knows.
            DataError: Its columns are damaged.
        """
        return self.file.manifest

    @property
    def manifest_digest(self) -> str:
        """What the digest of the manifest must be."""
        return self.file.manifest_digest

    def take_manifest(self, manifest: Manifest) -> None:
        """Use a manifest from elsewhere where the columns are damaged.

        Raises:
            UsageError: It is not the one that this store was written with.
        """
        self.file.take_manifest(manifest)

    @property
    def nbytes(self) -> int:
        """Bytes of the file."""
        return self.file.source.length

    @property
    def digest(self) -> str:
        """Changes with the manifest, and with the index and the fingerprint of any feature."""
        digests = [self.manifest.digest(), *(f"{f.name}:{f.index_digest}" for f in self.features.values())]
        return xxhash.xxh3_128_hexdigest("\n".join(digests).encode())

    @property
    def identity(self) -> str:
        """Changes with anything that can be read from the store, values too; cheaper than `digest`."""
        state = xxhash.xxh3_128(self.manifest_digest.encode())
        for feature in self.features.values():
            state.update(f"{feature.name}:{feature.index_digest}".encode())
            state.update(feature.marks().tobytes())
        return state.hexdigest()

    def feature(self, name: str) -> Feature:
        """A feature by name; the same as `store[name]`.

        Raises:
            UnknownNameError: The store has no such feature; the error lists those that it has.
            DataError: The store has it, and its index is damaged.
        """
        if name in self.damaged_features:
            raise self.damaged_features[name]
        if name not in self.features:
            raise UnknownNameError(f"feature in {self.path}", name, self.features)
        return self.features[name]

    def __getitem__(self, name: str) -> Feature:
        return self.feature(name)

    def __contains__(self, name: object) -> bool:
        return name in self.features

    def __iter__(self) -> Iterator[str]:
        return iter(self.features)

    def require_intact(self) -> FeatureStore:
        """The store itself, if every feature can be read: rewriting it would lose the others.

        Raises:
            DataError: Features whose index is damaged.
        """
        for error in self.damaged_features.values():
            raise error
        return self

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"FeatureStore({str(self.path)!r}, {self.corpus}: {', '.join(self.features) or 'no features'})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the corpus, and a row for each feature."""
        rows = [
            (
                f.name,
                f.modality,
                f.encoder,
                len(f.lengths),
                int(f.lengths.sum()),
                f.dimension,
                f.layers or "",
                f.spec.dtype,
            )
            for f in self.features.values()
        ]
        heading = f"{self.path}: corpus {self.corpus}, {plural(len(self.manifest.utterances), 'utterance')}"
        columns = ("feature", "modality", "encoder", "utterances", "frames", "dimension", "layers", "dtype")
        return html_display(heading, [str(e) for e in self.damaged_features.values()], columns, rows)

    def __reduce__(self) -> tuple[Any, tuple[Location, str]]:
        return _reopen, (self.path, self.identity)


def _reopen(path: Location, identity: str) -> FeatureStore:
    """Open a pickled store in another process; it must be the same file."""
    store = FeatureStore(path)
    if store.identity != identity:
        store.close()
        raise DataError(f"{path} has been replaced since it was opened; open it again, and restart the workers")
    return store
