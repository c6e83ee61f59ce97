"""The same work on several processes, job-array shards or a Dask cluster."""
