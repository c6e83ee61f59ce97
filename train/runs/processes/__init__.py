"""Trains the folds of a fit in this process, in several, or on a cluster."""
