"""The page of a run: what the files of a finished run hold, as one HTML file."""
