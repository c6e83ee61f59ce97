"""From options to jobs and batches, before anything is encoded."""
