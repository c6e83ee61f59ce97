"""Run folders: written as `NAME.part`, fold by fold, and renamed to `NAME` when complete."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from emofuse.common.disk.csv_table import CsvRow, csv_text, parse_csv
from emofuse.common.disk.files import make_folder, write_atomically
from emofuse.common.disk.locking import lock
from emofuse.common.errors import DataError, UsageError
from emofuse.common.output.console import format_size

T = TypeVar("T")
LONGEST = 256 << 20
"""Bytes of the longest JSON or CSV file that is read; those of real runs are far shorter."""


def refuse_inside_run(path: Path) -> None:
    """Refuse a path inside a finished run: a file there would overwrite one of the run's, or count as an alteration.

    Raises:
        UsageError: It is.
    """
    for folder in path.resolve().parents:
        if all((folder / name).is_file() for name in ("config.json", "metrics.json", "predictions.csv")):
            raise UsageError(f"{path} is inside the finished run {folder}, which stays as it is: choose another path")


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically."""
    write_atomically(path, json_bytes(content))


def json_bytes(content: Any) -> bytes:
    """The bytes that `write_json` writes."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def read_json(path: Path, keys: Iterable[str] = ()) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: The file.
        keys: Keys that it must have.

    Raises:
        DataError: The file is missing, damaged, not an object, or has not all `keys`.
    """
    with _reading(path):
        content = json.loads(_text(path))
        if not isinstance(content, dict):
            raise ValueError(f"it is not a JSON object, it begins with {json.dumps(content)[:20]}")
        _refuse_missing("key", keys, content)
    return content


def write_csv(path: Path, rows: Sequence[CsvRow]) -> None:
    """Write rows as CSV, with a column for every key of any row; a missing value is an empty cell.

    A text that a spreadsheet would take as a formula gets an apostrophe before it (`csv_table`).
    """
    write_atomically(path, csv_text(rows).encode())


def read_csv(path: Path, columns: Iterable[str] = ()) -> list[dict[str, str]]:
    """The rows of a file that `write_csv` wrote, with the same texts.

    Args:
        path: The file.
        columns: Columns that it must have.

    Raises:
        DataError: The file is missing or damaged, or has not all `columns`.
    """
    with _reading(path):
        found, rows = parse_csv(_text(path))
        _refuse_missing("column", columns, found)
    return rows


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn everything that a damaged file causes into one `DataError`."""
    try:
        yield
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        if isinstance(error, UnicodeDecodeError):
            reason = f"it is not UTF-8 text (byte {error.start})"
        elif isinstance(error, RecursionError):
            reason = "it is nested too deeply"
        raise DataError(f"{path} cannot be read: {reason}; delete the folder and run again") from None


def _text(path: Path) -> str:
    if path.exists() and not path.is_file():  # reading a pipe would wait for ever
        raise ValueError("it is not a file")
    if path.stat().st_size > LONGEST:
        raise ValueError(f"it has {format_size(path.stat().st_size)}, expected at most {format_size(LONGEST)}")
    return path.read_bytes().decode()


def _refuse_missing(kind: str, wanted: Iterable[str], found: Container[str]) -> None:
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ValueError(f"it has no {kind} {', no '.join(missing)}")


def run_path(runs: Path, name: str, identity: Mapping[str, Any]) -> Path:
    """`RUNS/NAME-DIGEST`, the default folder of a run: equal settings give the same path, so equal commands resume.

    Args:
        runs: The folder of all runs.
        name: What the run is called.
        identity: Everything that decides its results, JSON-ready.
    """
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    return runs / f"{name}-{digest}"


@contextmanager
def run_lock(out: Path) -> Iterator[None]:
    """Lock a run for this process; the system releases the lock when the process ends, however it ends.

    Raises:
        UsageError: Another process has the lock; names its host and number.
    """
    path = out.with_name(f"{out.name}.part.lock")
    busy = f"another process works in {path.with_suffix('')} ({{holder}})"
    with lock(path, f"{busy}; wait for it, stop it, or give another --out"):
        yield


def finished_metrics(out: Path, run: Mapping[str, Any]) -> dict[str, Any] | None:
    """The metrics of a finished run of the same settings; None when `out` does not exist.

    Args:
        out: The run folder.
        run: The settings, as under the key `run` of config.json.

    Raises:
        UsageError: `out` is something else; names the settings in which another run differs.
    """
    if not out.exists():
        return None
    is_run = (out / "metrics.json").is_file()
    differing = _differing_settings(out, run) if is_run else ""
    if differing or not is_run:
        remark = f" and is a run with different {differing}" if differing else ""
        raise UsageError(f"{out} already exists{remark}; read it, delete it, or give another --out")
    return read_json(out / "metrics.json")


def _differing_settings(folder: Path, run: Mapping[str, Any]) -> str:
    before, now = recorded(folder, "run", dict), json.loads(json.dumps(run))
    return ", ".join(name for k in sorted({*before, *now}) for name in _differing_names(k, before.get(k), now.get(k)))


def recorded(folder: Path, key: str, kind: type[T]) -> T:
    """The value of a key of a run folder's config.json: `run`, its settings, or `calls`.

    Raises:
        DataError: config.json is missing or damaged, or the value is not a `kind`.
    """
    path = folder / "config.json"
    found = read_json(path, (key,))[key]
    if not isinstance(found, kind):
        raise DataError(f"{path} is damaged: {key!r} is not a {kind.__name__}; delete the folder and run again")
    return found


def _differing_names(name: str, before: Any, now: Any) -> list[str]:
    """The names of settings that differ, one level into mappings: `settings (lr, seed)`."""
    if before == now:
        return []
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [name]
    return [f"{name} ({', '.join(k for k in sorted({*before, *now}) if before.get(k) != now.get(k))})"]


def refuse_other_settings(folder: Path, run: Mapping[str, Any]) -> None:
    """Refuse an unfinished run folder whose config.json has other settings.

    Raises:
        UsageError: Names the settings that differ.
    """
    differing = _differing_settings(folder, run)
    if differing:
        raise UsageError(
            f"{folder} holds an unfinished run with different {differing}; "
            "repeat its options to resume it, delete it, or give another --out"
        )


def claim_run(out: Path, config: Mapping[str, Any], call: Mapping[str, Any]) -> Path:
    """Create or resume the `.part` folder of a run, and write its config.json.

    Args:
        out: The folder of the finished run.
        config: Its key `run` must equal that of an unfinished run that is resumed.
        call: What may change from call to call (device, threads, versions); appended to the list `calls`.

    Returns:
        The `.part` folder.

    Raises:
        UsageError: The run is finished, or an unfinished one has different settings; names them.
    """
    partial = out.with_name(out.name + ".part")
    if out.exists():
        raise UsageError(f"{out} already exists; read it, delete it, or give another --out")
    calls = []
    if (partial / "config.json").exists():
        refuse_other_settings(partial, config["run"])
        calls = recorded(partial, "calls", list)
    make_folder(partial)
    write_json(partial / "config.json", {**config, "calls": [*calls, call]})
    return partial


def finish_run(partial: Path, out: Path) -> None:
    """Rename a complete run from its `.part` folder to its final name."""
    partial.replace(out)
