"""The HDF5 format that the two stages share; FORMAT.md beside this file is its law."""

from emofuse.store.core.feature import Feature, Ragged
from emofuse.store.core.reader import FeatureStore
from emofuse.store.core.spec import FeatureSpec
from emofuse.store.core.writer import FeatureData, FeatureWriter, write_store

__all__ = ["Feature", "FeatureData", "FeatureSpec", "FeatureStore", "FeatureWriter", "Ragged", "write_store"]
