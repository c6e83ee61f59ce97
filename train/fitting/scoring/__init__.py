"""Scores of the test side, their table of predictions, and the checks of recorded ones."""
