"""Whole runs: cross-validation over folds and seeds, processes and clusters, summaries and reports."""
