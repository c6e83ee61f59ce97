"""What a run's page shows besides the run's own files: texts, recordings, energy over time, and tokens of texts."""
