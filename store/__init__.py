"""The HDF5 feature stores that the two stages share; FORMAT.md beside this file specifies the format."""

from emofuse.store.core.feature import Feature, Ragged
from emofuse.store.core.from_arrays import FeatureData, write_store
from emofuse.store.core.reader import FeatureStore
from emofuse.store.core.spec import FeatureSpec
from emofuse.store.core.writer import FeatureWriter

__all__ = ["Feature", "FeatureData", "FeatureSpec", "FeatureStore", "FeatureWriter", "Ragged", "write_store"]
