"""audformat databases as rows of a corpus: `db.yaml` and one CSV or Parquet file per table (audEERING's format).

The package `audformat` reads them. It would load tables from pickles, and the header with a YAML loader that runs
code, if they are there; a foreign database could so run anything. It is therefore given a copy of the header, which
holds plain values only, and of the CSV and Parquet tables.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from emofuse.common.errors import DataError, UsageError
from emofuse.common.optional import optional_library
from emofuse.common.output.console import printable
from emofuse.datasets.reading.column_names import SPLITS, ColumnNames

HEADER = "db.yaml"
GOLD_STANDARD = "gold_standard"
_TABLE_TYPES = (".parquet", ".csv")
_RESERVED = ("id", "audio", "file", "start", "end")
"""What the index of a table gives; a label's `id`, which schemes may state, is no name of a clip."""
_PLAIN = ("str", "int", "float", "bool")


def is_database(folder: Path) -> bool:
    """Whether a folder is an audformat database."""
    return (folder / HEADER).is_file()


def read_database(folder: Path, names: ColumnNames, tables: str | None) -> tuple[list[dict[str, Any]], list[str]]:
    """The clips or segments that the tables label, in their order.

    Args:
        folder: The database.
        names: The schemes that are fields of an utterance; others are recognised by their usual names.
        tables: The tables with the labels, separated by commas; None means all, or those of the gold standard.

    Returns:
        One row per clip or segment, and notes.

    Raises:
        UsageError: The package is not installed, or it is unclear which scheme or table has the labels; lists them.
        DataError: The header or a table is damaged.
    """
    audformat = optional_library("audformat", "audformat", f"the database {folder}")
    with tempfile.TemporaryDirectory(prefix="emofuse-audformat-") as copy:
        database = _load(audformat, folder, Path(copy))
        schemes = _schemes(database)
        choices = list(dict.fromkeys((*schemes, *_columns_of(database, schemes))))
        fields = names.recognised(choices, f"the database {folder}")
        if "label" not in fields:
            listed = ", ".join(choices) or "none"
            raise UsageError(f"{folder}: pass --columns label=SCHEME, the scheme of the labels; schemes: {listed}")
        chosen = _chosen_tables(database, folder, fields["label"], tables)
        try:
            labels = database.get(fields["label"], tables=chosen)
        except ValueError:
            listed = ", ".join(chosen)
            raise UsageError(
                f"{folder}: its tables label one clip differently in {fields['label']!r}: choose with --tables; "
                f"tables: {listed}"
            ) from None
        columns, notes = _columns(database, fields, chosen, labels.index)
        splits = _splits(database, chosen)
    notes.append(f"labels are {fields['label']} of {', '.join(chosen)} in {folder.name}")
    return list(_rows(labels.index, columns, splits)), notes


def _load(audformat: Any, folder: Path, copy: Path) -> Any:
    """The database, from a copy without pickles."""
    yaml = optional_library("yaml", "audformat", f"the database {folder}")
    header = (folder / HEADER).read_bytes()
    try:
        plain = yaml.safe_load(header)
    except yaml.YAMLError as error:
        raise DataError(f"{folder / HEADER} cannot be read: {printable(str(error), 300)}") from None
    if not isinstance(plain, dict):
        raise DataError(f"{folder / HEADER} is no header of an audformat database")
    (copy / HEADER).write_bytes(header)
    pickled = []
    for table in [*(plain.get("misc_tables") or {}), *(plain.get("tables") or {})]:
        found = next((path for kind in _TABLE_TYPES if (path := folder / f"db.{table}{kind}").is_file()), None)
        if found:
            shutil.copyfile(found, copy / found.name)
        elif (folder / f"db.{table}.pkl").is_file():
            pickled.append(str(table))
    if pickled:
        raise UsageError(
            f"{folder}: {', '.join(pickled)} exist as pickles alone, and a pickle can run any code. If you trust them: "
            f"python -c \"import audformat; audformat.Database.load('{folder}').save('COPY', storage_format='csv')\""
            f"; then: --manifest COPY --root {folder}"
        )
    try:
        return audformat.Database.load(str(copy), load_data=True)
    except Exception as error:  # whatever a damaged header or table makes the package raise
        raise DataError(f"the database {folder} is damaged: {printable(str(error), 300)}") from None


def _schemes(database: Any) -> list[str]:
    """What a label can be looked up by: schemes of plain values, and what the labels of a scheme state (`gender`)."""
    schemes = [name for name, scheme in database.schemes.items() if scheme.dtype in _PLAIN]
    stated = [key for name in schemes for key in _stated(database.schemes[name])]
    names = dict.fromkeys((*schemes, *stated, *_columns_of(database, (None,))))
    return [name for name in names if name not in _RESERVED]


def _columns_of(database: Any, schemes: Collection[str | None]) -> list[str]:
    """The columns of all tables whose scheme is one of `schemes`."""
    tables = database.tables.values()
    return [column for table in tables for column in table.columns if _scheme_of(table, column) in schemes]


def _stated(scheme: Any) -> list[str]:
    labels = scheme.labels if isinstance(scheme.labels, dict) else {}
    return [str(key) for label in labels.values() if isinstance(label, dict) for key in label]


def _chosen_tables(database: Any, folder: Path, label: str, given: str | None) -> list[str]:
    """The tables that have the labels: the given ones, those of the gold standard, or all.

    Raises:
        UsageError: A given table does not exist, or whole files and segments would be mixed.
    """
    having = [
        name
        for name, table in database.tables.items()
        if any(
            label in (column, _scheme_of(table, column)) or label in _stated_by(database, table, column)
            for column in table.columns
        )
    ]
    if given is not None:
        chosen = [name.strip() for name in given.split(",")]
        wrong = [name for name in chosen if name not in having]
        if wrong:
            raise UsageError(
                f"{folder}: no table {', '.join(wrong)} with labels {label!r}; valid: {', '.join(having) or 'none'}"
            )
        return chosen
    chosen = [name for name in having if GOLD_STANDARD in name] or having
    if not chosen:
        raise UsageError(f"{folder}: no table has {label!r}: name other labels, --columns label=SCHEME")
    kinds = {database.tables[name].type for name in chosen}
    if len(kinds) != 1:
        raise UsageError(
            f"{folder}: tables of {label!r} list whole files and segments: choose with --tables; "
            f"tables: {', '.join(f'{name} ({database.tables[name].type})' for name in chosen)}"
        )
    return chosen


def _scheme_of(table: Any, column: str) -> str | None:
    scheme: str | None = table.columns[column].scheme_id
    return scheme


def _stated_by(database: Any, table: Any, column: str) -> list[str]:
    scheme = _scheme_of(table, column)
    return _stated(database.schemes[scheme]) if scheme else []


def _columns(
    database: Any, fields: Mapping[str, str], tables: Sequence[str], index: Any
) -> tuple[dict[str, list[Any]], list[str]]:
    """The value of each clip by field or further scheme, and notes on what is left out."""
    label, columns, notes = fields["label"], {}, []
    named = {scheme: name for name, scheme in fields.items()}
    for scheme in dict.fromkeys((*fields.values(), *_schemes(database))):
        try:
            frame = database.get(label, [scheme] if scheme != label else [], tables=tables)
        except ValueError:
            notes.append(f"{scheme} is left out: it has several values for one clip")
            continue
        if scheme in frame.columns:
            columns[named.get(scheme, scheme)] = _values(frame[scheme].reindex(index))
    return columns, notes


def _splits(database: Any, tables: Sequence[str]) -> dict[Any, str]:
    """Entry of the index -> split, of tables that belong to one by their definition or their name."""
    splits: dict[Any, str] = {}
    for name in tables:
        table = database.tables[name]
        declared = [database.splits[table.split_id].type, table.split_id] if table.split_id else name.split(".")
        split = next((SPLITS[str(word)] for word in declared if str(word) in SPLITS), None)
        if split:
            splits |= dict.fromkeys(table.df.index, split)
    return splits


def _rows(index: Any, columns: Mapping[str, list[Any]], splits: Mapping[Any, str]) -> Iterator[dict[str, Any]]:
    for number, entry in enumerate(index):
        file, start, end = (entry, None, None) if isinstance(entry, str) else (entry[0], *map(_seconds, entry[1:]))
        times = "" if start is None else f"@{start:g}-{'' if end is None else f'{end:g}'}"
        row = {
            "id": f"{Path(file).with_suffix('').as_posix()}{times}",
            "audio": file,
            "start": start or None,
            "end": end,
            "split": splits.get(entry),
        }
        row |= {name: values[number] for name, values in columns.items()}
        yield {key: value for key, value in row.items() if value is not None}


def _seconds(time: Any) -> float | None:
    """A time of a segment; None where it has none."""
    seconds = float(time.total_seconds())
    return None if seconds != seconds else seconds  # NaT is not equal to itself


def _values(series: Any) -> list[str | float | None]:
    """The values of a column as text and numbers; None where one is missing."""
    missing = series.isna().tolist()
    return [
        None if absent else value if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
        for value, absent in zip(series.tolist(), missing, strict=True)
    ]
