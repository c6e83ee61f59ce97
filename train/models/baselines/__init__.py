"""Architectures that the five papers compare with, and simple unimodal models."""
