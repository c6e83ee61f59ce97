"""Paired scores, tests and intervals, and the units that they exchange and draw."""
