"""The run folder: written as `NAME.part`, fold by fold, and renamed to `NAME` when all of it is there."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emofuse.common.disk.files import put
from emofuse.common.disk.locking import lock
from emofuse.common.errors import DataError, UsageError

CsvRow = Mapping[str, Any]


def write_json(path: Path, content: Any) -> None:
    """Write JSON."""
    put(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON; a damaged file is a `DataError`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}; delete the folder and run again") from None


def write_csv(path: Path, rows: Sequence[CsvRow]) -> None:
    """Write rows of equal or growing keys as CSV, empty where a row lacks a column."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    put(path, text.getvalue().encode())


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def named(runs: Path, name: str, identity: Mapping[str, Any]) -> Path:
    """`RUNS/NAME-DIGEST`: equal settings come to the same folder, so the same command resumes."""
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    return runs / f"{name}-{digest}"


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Keep a run to this process; the system lets go of it when the process ends, however it ends.

    Raises:
        UsageError: Another process has it; names host and process.
    """
    path = out.with_name(f"{out.name}.part.lock")
    busy = f"another process works in {path.with_suffix('')} ({{holder}})"
    with lock(path, f"{busy}; wait for it, stop it, or give another --out"):
        yield


def finished(out: Path, run: Mapping[str, Any]) -> Any | None:
    """The metrics of a finished run of the same settings; none where nothing lies at `out`.

    Raises:
        UsageError: Something else lies there; says in which settings another run differs.
    """
    if not out.exists():
        return None
    differing = "" if not (out / "metrics.json").is_file() else _differing(out, run)
    if differing or not (out / "metrics.json").is_file():
        said = f" and is a run with other {differing}" if differing else ""
        raise UsageError(f"{out} exists already{said}; read it, delete it, or give another --out")
    return read_json(out / "metrics.json")


def _differing(folder: Path, run: Mapping[str, Any]) -> str:
    before, now = read_json(folder / "config.json")["run"], json.loads(json.dumps(run))
    return ", ".join(name for k in sorted({*before, *now}) for name in _unlike(k, before.get(k), now.get(k)))


def _unlike(name: str, before: Any, now: Any) -> list[str]:
    """The names of what differs, one level into mappings: `settings (lr, seed)`."""
    if before == now:
        return []
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [name]
    return [f"{name} ({', '.join(k for k in sorted({*before, *now}) if before.get(k) != now.get(k))})"]


def refuse_other(folder: Path, run: Mapping[str, Any]) -> None:
    """Refuse a folder whose config.json is of another run.

    Raises:
        UsageError: Says in which settings it differs.
    """
    differing = _differing(folder, run)
    if differing:
        raise UsageError(
            f"{folder} holds a half-done run with other {differing}; "
            "repeat its options to go on with it, delete it, or give another --out"
        )


def claim(out: Path, config: Mapping[str, Any], call: Mapping[str, Any]) -> Path:
    """Make or take up the `.part` folder of a run and write its config.json.

    Args:
        config: Its key `run` must equal that of a half-done run that is to be continued.
        call: What may change from call to call (device, threads, versions); joins the list `calls` of config.json.

    Raises:
        UsageError: The run is finished, or the half-done one there had other settings; says which.
    """
    part = out.with_name(out.name + ".part")
    if out.exists():
        raise UsageError(f"{out} exists already; read it, delete it, or give another --out")
    calls = []
    if (part / "config.json").exists():
        refuse_other(part, config["run"])
        calls = read_json(part / "config.json")["calls"]
    part.mkdir(parents=True, exist_ok=True)
    write_json(part / "config.json", {**config, "calls": [*calls, call]})
    return part


def finish(part: Path, out: Path) -> None:
    """Give a complete run its name."""
    part.replace(out)
