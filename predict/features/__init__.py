"""The features that a run's models read, computed for new recordings."""
