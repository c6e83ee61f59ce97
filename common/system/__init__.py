"""The machine: cores, free memory, allocator, signals, and the workers of a Dask cluster."""
