"""Trains all folds and seeds of a run, its ensemble and its final model, and leaves the run folder."""
