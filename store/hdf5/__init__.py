"""The lowest layer: bytes of a local or remote file, and checks of every HDF5 structure before HDF5 reads it."""
