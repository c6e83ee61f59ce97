"""The HDF5 format that the two stages share; FORMAT.md beside this file is its law."""

from emofuse.store.feature import Feature, Ragged
from emofuse.store.reader import FeatureStore
from emofuse.store.spec import FeatureSpec
from emofuse.store.writer import FeatureData, PartWriter, write_store

__all__ = ["Feature", "FeatureData", "FeatureSpec", "FeatureStore", "PartWriter", "Ragged", "write_store"]
