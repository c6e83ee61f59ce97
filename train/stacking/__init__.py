"""Stacking: a logistic regression over the probabilities of several finished runs, fitted on validation sides."""
