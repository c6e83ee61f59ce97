"""Frozen audio and text encoders, one module per family; `registry.ENCODERS` lists them all."""
