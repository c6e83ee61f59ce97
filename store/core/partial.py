"""Names of the files that writers keep beside a store.

A feature is written into a partial store `STORE.FEATURE.part`, which joins the store once it is complete. Each file is
first created as a draft `NAME.new`, and `NAME.lock` is held while it is written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from emofuse.common.disk.files import resolve_link
from emofuse.common.disk.locking import Lock, lock
from emofuse.common.errors import UsageError
from emofuse.common.location import Location
from emofuse.store.hdf5.byte_source import LocalFile

_PARTIAL, _DRAFT, _LOCK = ".part", ".new", ".lock"


def partial_path(store: Path, feature: str) -> Path:
    """The partial store of a feature; for a symbolic link, beside the file that it points to."""
    target = resolve_link(store)
    return target.with_name(f"{target.name}.{feature}{_PARTIAL}")


def partial_paths(store: Path) -> Iterator[tuple[str, Path]]:
    """(feature, path) of every file beside the store whose name is that of its partial store, sorted by name.

    A store whose name continues this one's (`a.h5`, `a.h5.b`) has partial stores that match, too: open each to be sure.
    """
    for path in sorted(store.parent.iterdir()):
        if path.name.startswith(f"{store.name}.") and path.suffix == _PARTIAL:
            yield path.name.removeprefix(f"{store.name}.").removesuffix(_PARTIAL), path


def partials_and_drafts(store: Path) -> list[Path]:
    """Paths of the partial stores beside a store, sorted, including those that exist only as a draft."""
    files = (path for path in store.parent.iterdir() if path.is_file())
    names = {path.name.removesuffix(_DRAFT) for path in files}
    own = (name for name in names if name.startswith(f"{store.name}.") and name.endswith(_PARTIAL))
    return sorted(store.with_name(name) for name in own if name != store.name + _PARTIAL)


def is_partial(store: Location) -> bool:
    """Whether a path has the name of a partial store."""
    return str(store).endswith(_PARTIAL)


def draft_path(path: Path) -> Path:
    """Where a file is created before it is renamed to `path`."""
    return path.with_name(path.name + _DRAFT)


def lock_path(path: Path) -> Path:
    """The lock file of a store or partial store."""
    return path.with_name(path.name + _LOCK)


def replace_lock(path: Path, *, wait: float = 0.0, existing: bool = False) -> Lock:
    """The lock that a process holds while it replaces the store at `path`.

    Args:
        path: The store; not a symbolic link (see `resolve_link`).
        wait: Seconds to wait for another process.
        existing: Refuse a path without a store.

    Raises:
        UsageError: Another process has held it for longer than `wait` seconds; or there is no store.
    """
    if existing:
        LocalFile(path).close()
    return lock(lock_path(path), _refusal(str(path)), wait=wait)


def partial_lock(partial: Path, *, wait: float = 0.0) -> Lock:
    """The lock that a process holds while it writes into a partial store.

    Raises:
        UsageError: Another process has held it for longer than `wait` seconds.
    """
    return lock(lock_path(partial), _refusal(partial.name), wait=wait)


def _refusal(name: str) -> str:
    return f"another process is writing {name} ({{holder}}); wait for it or stop it"


def delete_partial(store: Path, feature: str) -> None:
    """Delete the partial store of a complete feature: a writer that is killed after its last rename leaves it."""
    partial = partial_path(store, feature)
    if not partial.exists():
        return
    with contextlib.suppress(UsageError), partial_lock(partial):
        partial.unlink(missing_ok=True)
