"""Which files of a folder are audio."""

from __future__ import annotations

from pathlib import Path

SUFFIXES = (
    ".wav", ".flac", ".ogg", ".opus", ".mp3", ".mp4", ".m4a", ".aac", ".webm", ".wma", ".aif", ".aiff", ".au", ".caf",
)  # fmt: skip
"""Suffixes of audio files; the content of a file decides how it is decoded."""


def audio_files(folder: Path) -> list[Path]:
    """The audio files in a folder and its subfolders, by name; hidden files are ignored."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
