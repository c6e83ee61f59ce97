"""The run folders below a folder, and what looks like one but is not a finished run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from emofuse.common.output.console import plural
from emofuse.train.fitting.file_names import CONFIG, PREDICTIONS, RESULT, RUN_FILES

DEEPEST = 4
"""How many folders below the given one are searched."""
_PARTIAL = ".part"
_TRACKED = ("artifacts", "files")
"""The folders in which MLflow and Weights & Biases keep the files that `fit --track` gives them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A folder that is not on the leaderboard."""

    folder: Path
    state: str
    """`unfinished`, `damaged`, `link` or `unreadable`."""
    reason: str


@dataclass(slots=True)
class FoundRuns:
    """What is below a folder."""

    runs: list[Path] = field(default_factory=list)
    """Folders that have the files of a finished run."""
    unread: list[Unread] = field(default_factory=list)


def find_runs(folder: Path) -> FoundRuns:
    """The runs in a folder and in the folders below it; not those inside of runs, such as the runs of single seeds.

    Names that begin with a dot are passed over, and so are the copies that trackers keep. Links to runs are followed,
    and a run is listed once.
    """
    found, seen = FoundRuns(), dict[Path, Path]()
    _visit(folder, DEEPEST, found, seen)
    return found


def is_run(folder: Path) -> bool:
    """Whether a folder has the files of a finished run."""
    return all((folder / name).is_file() for name in RUN_FILES)


def _visit(folder: Path, depth: int, found: FoundRuns, seen: dict[Path, Path]) -> None:
    try:
        inside = sorted(folder.iterdir(), key=lambda path: (path.is_symlink(), path))  # links come after what they name
    except OSError as error:
        found.unread.append(Unread(folder=folder, state="unreadable", reason=f"it cannot be read: {error.strerror}"))
        return
    for path in inside:
        if path.name.startswith("."):
            continue
        if path.is_symlink() and (reason := _unfollowed(path, seen)):
            found.unread.append(Unread(folder=path, state="link", reason=reason))
        elif path.is_dir():
            seen[path.resolve()] = path
            _sort(path, depth, found, seen)


def _unfollowed(link: Path, seen: dict[Path, Path]) -> str:
    """Why a link is not followed; empty if it leads to a run that is not listed, or to a file."""
    if not link.exists():
        return "a link to a folder that does not exist"
    if listed := seen.get(link.resolve()):
        return f"a link to {listed.name}, which is listed"
    return "a link to a folder that is not a run; it is not searched" if link.is_dir() and not is_run(link) else ""


def _sort(folder: Path, depth: int, found: FoundRuns, seen: dict[Path, Path]) -> None:
    """Put a folder where it belongs, or search it."""
    if folder.name.endswith(_PARTIAL) and (folder / CONFIG).exists():
        found.unread.append(Unread(folder=folder, state="unfinished", reason=_progress(folder)))
    elif missing := [name for name in RUN_FILES if not (folder / name).is_file()]:
        present = [name for name in RUN_FILES[1:] if name not in missing]
        if present and not _is_tracked(folder):
            reason = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
            found.unread.append(Unread(folder=folder, state="damaged", reason=reason))
        elif not present and depth > 1:
            _visit(folder, depth - 1, found, seen)
    else:
        found.runs.append(folder)


def _is_tracked(folder: Path) -> bool:
    """Whether a folder has what a tracker was given of a run: its settings and scores, without its predictions."""
    return folder.name in _TRACKED and not (folder / PREDICTIONS).exists()


def _progress(folder: Path) -> str:
    finished = sum(1 for _ in _results(folder))
    return f"{plural(finished, 'fold')} finished; run the same fit again to finish it"


def _results(folder: Path) -> Iterator[Path]:
    yield from folder.glob(f"fold_*/{RESULT}")
    yield from folder.glob(f"seed_*/fold_*/{RESULT}")
