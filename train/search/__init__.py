"""Hyper-parameter search on validation scores only."""
