"""The sides of each fold: by session or speaker, or from a file; checked for leaks."""
