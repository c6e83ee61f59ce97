"""Hyper-parameter search on validation scores alone."""
