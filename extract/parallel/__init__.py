"""The same work on several processes: local workers, a Dask cluster, or the shards of a job array."""
