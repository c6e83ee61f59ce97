"""A disk that forgets what was not synced: records what a program writes, and builds what a power cut could leave."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

PAGE = 4096


@dataclass
class Inode:
    """A file: what is on the disk for certain, and what was written since."""

    certain: bytearray = field(default_factory=bytearray)
    later: list[tuple[int, bytes]] = field(default_factory=list)
    """(offset, at most a page); offset -1: the file was cut to nothing."""

    def image(self, luck: Callable[[], bool]) -> bytes:
        """What could be found after a power cut: any of the later pages, with holes between them."""
        found = bytearray(self.certain)
        for offset, data in self.later:
            if luck():
                if offset < 0:
                    found.clear()
                    continue
                found.extend(bytes(max(0, offset + len(data) - len(found))))
                found[offset : offset + len(data)] = data
        return bytes(found)

    def sync(self) -> None:
        """Make it certain."""
        self.certain, self.later = bytearray(self.image(lambda: True)), []


@dataclass
class Disk:
    """Every event that matters, in order; `replay` gives the disk after some of them."""

    root: Path
    events: list[tuple[Any, ...]] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)
    """The system's inode number -> ours, which is never used again."""

    def __post_init__(self) -> None:
        for path in sorted(self.root.rglob("*")):
            if path.is_dir():
                self.events.append(("folder", path))
                continue
            number = self.number(path.stat().st_ino)
            self.events += [("write", number, 0, path.read_bytes()), ("sync", number), ("link", path, number)]
        for folder in (self.root, *(p for p in self.root.rglob("*") if p.is_dir())):
            self.events.append(("sync folder", folder))

    def number(self, inode: int) -> int:
        return self.numbers.setdefault(inode, len(self.numbers) + sum(e[0] == "forget" for e in self.events))

    def of(self, descriptor: int) -> int:
        return self.number(os.fstat(descriptor).st_ino)

    def note(self, word: str) -> None:
        """Remember how far the program was."""
        self.events.append(("note", word))

    def linked(self, path: Path, cut: bool) -> None:
        """A file was opened for writing, and made or cut to nothing."""
        number = self.number(path.stat().st_ino)
        if cut:
            self.events.append(("write", number, -1, b""))
        self.events.append(("link", path, number))

    def written(self, descriptor: int, offset: int, data: bytes) -> None:
        self.events.append(("write", self.of(descriptor), offset, data))

    def gone(self, path: Path) -> None:
        """The name that a path had is free; its inode number may come again for another file."""
        old = self.numbers.pop(path.stat().st_ino)
        self.events.append(("forget", old))

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Within, what the store's modules ask of the system is done and noted."""
        real = {
            n: getattr(os, n) for n in ("pwrite", "copy_file_range", "posix_fallocate", "fsync", "fdatasync", "open")
        }
        path_open, replace, unlink, mkdir = Path.open, Path.replace, Path.unlink, Path.mkdir

        def pwrite(descriptor: int, data: Any, offset: int) -> int:
            count: int = real["pwrite"](descriptor, data, offset)
            self.written(descriptor, offset, bytes(data)[:count])
            return count

        def copy_file_range(source: int, target: int, count: int, start: int, to: int) -> int:
            moved: int = real["copy_file_range"](source, target, count, start, to)
            self.written(target, to, os.pread(source, moved, start))
            return moved

        def posix_fallocate(descriptor: int, offset: int, length: int) -> None:
            before = os.fstat(descriptor).st_size
            real["posix_fallocate"](descriptor, offset, length)
            self.written(descriptor, before, bytes(max(0, offset + length - before)))

        def sync(descriptor: int, name: str) -> None:
            real[name](descriptor)
            path = Path(f"/proc/self/fd/{descriptor}").resolve()
            self.events.append(("sync folder", path) if path.is_dir() else ("sync", self.of(descriptor)))

        def opened(path: Any, flags: int, *more: int) -> int:
            new = flags & os.O_CREAT and not Path(path).exists()
            descriptor: int = real["open"](path, flags, *more)
            if new:
                self.linked(Path(path), cut=False)
            return descriptor

        def open_path(path: Path, mode: str = "r", *more: Any, **options: Any) -> Any:
            file = path_open(path, mode, *more, **options)
            if mode.startswith("w"):
                self.linked(path, cut=True)
            return file

        def replaced(path: Path, target: Path) -> Path:
            number = self.number(path.stat().st_ino)
            if target.exists():
                self.gone(target)
            self.events.append(("rename", path, target, number))
            return replace(path, target)

        def unlinked(path: Path, missing_ok: bool = False) -> None:
            if path.exists():
                self.gone(path)
                self.events.append(("unlink", path))
            unlink(path, missing_ok=missing_ok)

        def made(path: Path, *more: Any, **options: Any) -> None:
            if not path.exists():
                self.events.append(("folder", path))
            mkdir(path, *more, **options)

        with (
            patch.multiple(os, pwrite=pwrite, copy_file_range=copy_file_range, posix_fallocate=posix_fallocate),
            patch.multiple(os, open=opened, fsync=lambda d: sync(d, "fsync"), fdatasync=lambda d: sync(d, "fdatasync")),
            patch.multiple(Path, open=open_path, replace=replaced, unlink=unlinked, mkdir=made),
        ):
            yield

    def notes(self, until: int) -> list[str]:
        return [e[1] for e in self.events[:until] if e[0] == "note"]

    def image(self, until: int, rng: random.Random, target: Path) -> None:
        """Write to the empty folder `target` what a power cut after `until` events could leave."""
        share = rng.choice((0.0, 1.0, 0.5, 0.9, 0.1))

        def luck() -> bool:
            return rng.random() < share

        inodes: dict[int, Inode] = {}
        names: dict[Path, int | None] = {}
        pending: list[tuple[Path, dict[Path, int | None]]] = []
        for kind, *what in self.events[:until]:
            if kind == "write":
                number, offset, data = what
                pages = [(offset, b"")] if offset < 0 else list(_pages(offset, data))
                inodes.setdefault(number, Inode()).later += pages
            elif kind == "sync":
                inodes.setdefault(what[0], Inode()).sync()
            elif kind == "sync folder":
                for folder, change in pending:
                    if folder == what[0]:
                        names |= change
                pending = [(folder, change) for folder, change in pending if folder != what[0]]
            elif kind == "rename":
                pending.append((what[0].parent, {what[0]: None, what[1]: what[2]}))
            elif kind in ("link", "unlink", "folder"):
                number = what[1] if kind == "link" else None if kind == "unlink" else -1
                pending.append((what[0].parent, {what[0]: number}))
        for _, change in pending:
            if luck():
                names |= change
        for path, number in sorted(names.items()):
            there = target / path.relative_to(self.root)
            if number is None or not there.parent.is_dir():
                continue
            if number < 0:
                there.mkdir()
            else:
                there.write_bytes(inodes.setdefault(number, Inode()).image(luck))


def _pages(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    done = 0
    while done < len(data):
        step = min(len(data) - done, PAGE - (offset + done) % PAGE)
        yield offset + done, data[done : done + step]
        done += step
