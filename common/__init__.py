"""What every room may use and that imports nothing of ours: errors, registry, progress, console."""
