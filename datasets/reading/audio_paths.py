"""Audio files whose names are spelled otherwise than in the annotation: another Unicode form, case or slash."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from emofuse.manifests.names.spellings import name_key


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return _composed(name).casefold()


def _similar(name: str) -> str:
    """Equal for names that differ in suffix, punctuation, leading zeros or percent signs of a URL."""
    return " ".join(name_key(PurePosixPath(unquote(name)).stem))


class AudioFinder:
    """Finds the files that an annotation means, below the root of a corpus; it lists a folder only where one is absent.

    Args:
        root: The folder that paths are relative to.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._entries: dict[tuple[Path, Callable[[str], str]], Mapping[str, Sequence[str]]] = {}
        self.respelled: dict[str, str] = {}
        """Path in the annotation -> the path that was found instead."""

    def find(self, audio: str) -> str | None:
        """The path of the file that `audio` means, with forward slashes; None where there is none, or several."""
        if (self._root / audio).is_file():
            return audio
        folder, last = self._folder_of(audio)
        name = self._match(folder, last)
        if name is None or not (folder / name).is_file():
            return None
        found = (folder / name).relative_to(self._root).as_posix()
        self.respelled[audio] = found
        return found

    def near(self, audio: str) -> str | None:
        """A path that may be meant where `audio` is absent."""
        folder, last = self._folder_of(audio)
        similar = self._entries_by(folder, _similar).get(_similar(last), ())
        return (folder / similar[0]).relative_to(self._root).as_posix() if similar else None

    def _folder_of(self, audio: str) -> tuple[Path, str]:
        """The folder that a path means, as far as it exists, and the first name that is not a folder of it."""
        parts = [part for part in audio.replace("\\", "/").split("/") if part not in ("", ".")] or [""]
        folder = self._root
        for part in parts[:-1]:
            name = self._match(folder, part)
            if name is None:
                return folder, part
            folder = folder / name
        return folder, parts[-1]

    def _match(self, folder: Path, name: str) -> str | None:
        """The entry that a name means: itself, else one of the same Unicode form, else the same but for case."""
        for key in (str, _composed, _folded):
            same = self._entries_by(folder, key).get(key(name), ())
            if same:
                return same[0] if len(same) == 1 else None
        return None

    def _entries_by(self, folder: Path, key: Callable[[str], str]) -> Mapping[str, Sequence[str]]:
        """The entries of a folder that are not hidden, by a key of their names."""
        if (folder, key) not in self._entries:
            names: dict[str, list[str]] = {}
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if not path.name.startswith("."):
                    names.setdefault(key(path.name), []).append(path.name)
            self._entries[folder, key] = names
        return self._entries[folder, key]
