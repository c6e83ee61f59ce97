"""Trains one fold: the training loop and its step, checkpoints, and the scoring of the test side."""
