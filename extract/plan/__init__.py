"""From the options of `extract` to jobs and batches, before anything is encoded."""
