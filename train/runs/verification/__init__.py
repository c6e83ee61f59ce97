"""`emofuse verify`: what a run folder records is computed again and compared."""
