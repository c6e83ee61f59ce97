"""Whole runs: cross-validation over folds and seeds, in processes or on a cluster; metrics and reports."""
