"""The comparison page: where two to ten runs differ, as one HTML file."""
