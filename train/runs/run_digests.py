"""The digests of a run's files: of all of them in `digests.json`, and of its weights also in `metrics.json`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from emofuse.common.disk import digests
from emofuse.train.fitting.evaluate import WEIGHTS


def write_digests(folder: Path, changed: Iterable[str] | None = None) -> None:
    """Write the digests of a finished run folder, after every other file of it.

    Args:
        folder: The run folder.
        changed: Only these files, relative to `folder`, were added or written again: what is recorded of the others
            stays, so that an alteration of theirs is still found. By default, all files are read.

    Raises:
        DataError: The recorded digests are damaged.
    """
    recorded = digests.read_digests(folder) if changed is not None else None
    if recorded is None:
        recorded, changed = {}, None
    names = digests.files_in(folder) if changed is None else changed
    digests.write_digests(folder, recorded | {name: digests.digest_of(folder / name) for name in names})


def weights_digests(folder: Path) -> dict[str, str]:
    """The files of trained weights and statistics below a folder, relative to it, with their digests."""
    names = [name for name in digests.files_in(folder) if Path(name).name == WEIGHTS]
    return {name: digests.digest_of(folder / name) for name in names}
