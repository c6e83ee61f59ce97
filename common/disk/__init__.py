"""Files that appear whole or not at all: atomic writes, locks, run folders, tensor files, training checkpoints."""
