"""Files on disk: atomic writes, locks, run folders, tensor files, training checkpoints."""
