"""A finished run for other software: its model as one file, and its model card (`emofuse export`)."""
