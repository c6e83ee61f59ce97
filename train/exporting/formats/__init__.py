"""The file formats of exported models, one module each, and their registry."""
