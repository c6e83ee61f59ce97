"""Shared by every package and dependent on none of them: errors, registry, progress, console."""
