"""Fits an encoder to a folder of audio, without labels."""
