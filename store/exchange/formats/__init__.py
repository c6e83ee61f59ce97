"""One module per foreign format: how it is read and written."""
