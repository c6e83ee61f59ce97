"""Layers that several architectures share, and the layers of MCFN."""
