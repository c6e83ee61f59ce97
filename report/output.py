"""Where a page goes, and its files: the page itself, or each figure or table of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from emofuse.common.disk.digests import NAME as DIGESTS
from emofuse.common.disk.files import write_atomically
from emofuse.common.disk.outputs import refuse_as_file, refuse_as_folder, write_output
from emofuse.common.disk.run_folder import read_json
from emofuse.common.errors import DataError
from emofuse.common.page.render import render
from emofuse.report.built import BuiltPage
from emofuse.train.fitting.file_names import METRICS, PAGE


def page_path(folder: Path, out: Path | None) -> tuple[Path, str | None]:
    """Where the page of a folder goes, and a remark if it is not the usual place.

    Args:
        folder: A run, or a folder of runs.
        out: What the user chose.

    Raises:
        UsageError: `out` is a folder, cannot be written, or is inside a run and not its page.
    """
    if out is not None and out.resolve() != (folder / PAGE).resolve():
        refuse_as_file(out, PAGE)
        return out, None
    if os.access(folder, os.W_OK):
        return folder / PAGE, None
    elsewhere = Path(f"{folder.resolve().name}-{PAGE}")
    return elsewhere, f"{folder} cannot be written to: the page is {elsewhere}, and the folder stays as it is"


def write_page(built: BuiltPage, path: Path) -> int:
    """Write the page; in a run folder its digest is recorded again, so that `verify` passes.

    Returns:
        Bytes.

    Raises:
        UsageError: A package that renders pages is not installed.
    """
    content = render(built.page).encode()
    if path == built.folder / PAGE and (built.folder / METRICS).is_file():
        with _recorded_again(built.folder):
            write_atomically(path, content)
    else:
        write_output(path, content)
    return len(content)


@contextmanager
def _recorded_again(folder: Path) -> Iterator[None]:
    """Within it, the page of a folder is written; digests of the folder, and of a run that it is a seed of, follow."""
    from emofuse.train.runs.run_digests import rewriting  # imports torch, which a folder of runs does not need

    with ExitStack() as stack:
        run = folder.resolve().parent
        if _is_seed_of(folder.resolve(), run):
            stack.enter_context(rewriting(run, [f"{folder.resolve().name}/{name}" for name in (PAGE, DIGESTS)]))
        stack.enter_context(rewriting(folder, [PAGE]))
        yield


def _is_seed_of(folder: Path, run: Path) -> bool:
    """Whether a folder is that of one seed in a run of several."""
    if not folder.name.startswith("seed_") or not (run / METRICS).is_file():
        return False
    try:
        return folder.name in {f"seed_{seed}" for seed in read_json(run / METRICS).get("seeds", [])}
    except DataError:
        return False


def files_folder(folder: Path, format: str, out: Path | None) -> Path:
    """Where the figures or tables of a run or of a folder of runs go: `out`, by default a folder beside it.

    Raises:
        UsageError: That is a file, cannot be written, or is inside a run.
    """
    named = folder if folder.name not in ("", "..") else folder.resolve()
    target = out or named.with_name(f"{named.name}-{format}")
    refuse_as_folder(target, format)
    return target
