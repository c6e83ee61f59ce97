"""The compared runs as arrays, what they are called, and whether they can be compared."""
