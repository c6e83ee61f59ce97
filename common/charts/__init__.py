"""Charts of all pages and pictures, drawn by matplotlib: one file per kind, one theme, one palette."""
