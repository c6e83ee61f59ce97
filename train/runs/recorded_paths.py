"""Where the files are now that a run has recorded: stores, weights, recordings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from emofuse.train.runs.finished_run import Run

HIGHEST = 4
"""How many folders above the run's a relative path is looked for in."""


def found_path(run: Run, recorded: Path) -> Path:
    """A path that a run has recorded, as it can be opened from here.

    A relative one is looked for where the calls of the run ran, then in the current folder, then in the folders above
    the run's: a project whose folders stay together can be moved, and be read from anywhere. Where it is nowhere, it
    is as recorded.
    """
    if recorded.is_absolute():
        return recorded
    return next((path for path in _candidates(run, recorded) if path.exists()), recorded)


def recorded_folders(run: Run) -> list[str]:
    """The folders that the calls of a run ran in; none of versions that did not record it."""
    return list(dict.fromkeys(str(call["folder"]) for call in run.config.get("calls", []) if call.get("folder")))


def _candidates(run: Run, recorded: Path) -> Iterator[Path]:
    here = Path.cwd()
    yield from (Path(folder) / recorded for folder in reversed(recorded_folders(run)) if Path(folder) != here)
    yield recorded
    yield from (folder / recorded for folder in run.folder.resolve().parents[:HIGHEST])
