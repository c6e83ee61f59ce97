"""Scores of predicted classes: counts, confidence intervals, calibration."""
