"""The run folder: written as `NAME.part`, fold by fold, and renamed to `NAME` when all of it is there."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emofuse.common.errors import DataError, UsageError

Row = Mapping[str, Any]


def write_json(path: Path, content: Any) -> None:
    """Write JSON; the file appears whole or not at all."""
    _write(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON; a damaged file is a `DataError`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}; delete the folder and fit again") from None


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows of equal or growing keys as CSV, empty where a row lacks a column."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    part = path.with_name(path.name + ".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def default_out(identity: Mapping[str, Any]) -> Path:
    """`runs/PROTOCOL-MODEL-DIGEST`: equal settings come to the same folder, so the same command resumes."""
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    return Path("runs") / f"{identity['protocol']['name']}-{identity['model']}-{digest}"


def claim(out: Path, config: Mapping[str, Any]) -> Path:
    """Make or take up the `.part` folder of a run and write its config.json.

    Args:
        config: Its key `run` must equal that of a half-done run that is to be continued.

    Raises:
        UsageError: The run is finished, or the half-done one there had other settings; says which.
    """
    part = out.with_name(out.name + ".part")
    if out.exists():
        raise UsageError(f"{out} exists already; read it, delete it, or give another --out")
    if (part / "config.json").exists():
        before, now = read_json(part / "config.json")["run"], json.loads(json.dumps(config["run"]))
        differing = [k for k in sorted({*before, *now}) if before.get(k) != now.get(k)]
        if differing:
            raise UsageError(
                f"{part} holds a half-done run with other {', '.join(differing)}; "
                "repeat its options to go on with it, delete it, or give another --out"
            )
    else:
        part.mkdir(parents=True, exist_ok=True)
        write_json(part / "config.json", config)
    return part


def finish(part: Path, out: Path) -> None:
    """Give a complete run its name."""
    part.replace(out)
