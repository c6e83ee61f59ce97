"""The machine: cores, free memory, allocator, signals, and Dask clusters."""
