"""Layers that several architectures share: attention, recurrence, convolutions."""
