"""The digests of a run's files: of all of them in `digests.json`, and of its weights also in `metrics.json`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from emofuse.common.disk import digests
from emofuse.common.errors import DataError
from emofuse.train.fitting.scoring.score_test import WEIGHTS
from emofuse.train.runs.finished_run import METRICS, REMEDY, Run


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
    digests.write_digest_file(folder, recorded | {name: digests.digest_of(folder / name) for name in names})


@contextmanager
def rewriting(folder: Path, names: Sequence[str]) -> Iterator[None]:
    """Within the context, files of a finished run are written again or added; at its end, their digests are recorded.

    A call that is stopped within leaves files without digests, and none with a wrong one; the next one writes them.
    """
    recorded = digests.read_digests(folder)
    if recorded is not None:
        digests.write_digest_file(folder, {name: digest for name, digest in recorded.items() if name not in names})
    yield
    if recorded is not None:
        write_digests(folder, [name for name in names if (folder / name).is_file()])


def rewriting_was_stopped(folder: Path) -> bool:
    """Whether a call was stopped while it wrote metrics.json of a finished run again: it has no digest.

    Raises:
        DataError: The recorded digests are damaged.
    """
    recorded = digests.read_digests(folder)
    return recorded is not None and METRICS not in recorded


def check_weights(run: Run, path: Path) -> None:
    """Check a file of trained weights and statistics before it is loaded; version 0.1.0 recorded no digests.

    Raises:
        DataError: It is missing, or is not the file whose digest metrics.json has.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing: {REMEDY}")
    recorded = run.metrics.get("weights", {}).get(path.relative_to(run.folder).as_posix())
    if recorded not in (None, digests.digest_of(path)):
        raise DataError(f"{path} was altered after the run was finished: {REMEDY}")


def weights_digests(folder: Path) -> dict[str, str]:
    """The files of trained weights and statistics below a folder, relative to it, with their digests."""
    names = [name for name in digests.files_in(folder) if Path(name).name == WEIGHTS]
    return {name: digests.digest_of(folder / name) for name in names}
