"""Fusion models that the five papers compare with, unimodal models, and linear probes."""
