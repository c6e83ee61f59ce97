"""Where a feature is stored until it is complete: a partial store of its own, beside the store it will join."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from emofuse.common.disk.files import behind_link
from emofuse.common.location import Location

_SUFFIX = ".part"


def partial_path(store: Path, feature: str) -> Path:
    """The partial store of a feature; a symbolic link to a store leads to the file behind it."""
    target = behind_link(store)
    return target.with_name(f"{target.name}.{feature}{_SUFFIX}")


def partial_paths(store: Path) -> Iterator[tuple[str, Path]]:
    """(feature, path) of every file beside the store that is named as a partial store of it, sorted by name.

    A store whose name continues this one's (`a.h5`, `a.h5.b`) has partial stores that match, too: open each to be sure.
    """
    for path in sorted(store.parent.iterdir()):
        if path.name.startswith(f"{store.name}.") and path.suffix == _SUFFIX:
            yield path.name.removeprefix(f"{store.name}.").removesuffix(_SUFFIX), path


def is_partial(store: Location) -> bool:
    """Whether a path is named as a partial store."""
    return str(store).endswith(_SUFFIX)
