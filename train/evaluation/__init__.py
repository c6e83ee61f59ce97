"""A finished run on another store, without training: features and labels matched, leaks checked, results written."""
