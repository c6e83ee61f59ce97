"""Differences between two stores, and the card that describes one without sharing it."""
