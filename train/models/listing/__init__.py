"""The list of models for `emofuse models`: parameters and arithmetic of each."""
