"""Parquet files and folders of Hugging Face's `datasets`: one row per utterance, frames as a list of vectors.

Columns: `id`, then what the manifest says (`text`, `label`, `speaker`, `session`, ...), then one column per feature,
named like it: list<fixed_size_list<float>[D]>, with layers one list deeper. What emofuse says of the features, the
corpus reader and what is excluded stand in the file's metadata under `emofuse`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.console import printable
from emofuse.common.errors import DataError, UsageError
from emofuse.manifests.jsonl import parse
from emofuse.manifests.schema import OF_TEXT, Utterance
from emofuse.store import Feature
from emofuse.store.exchange.arrays import inside
from emofuse.store.exchange.columns import array_of, class_names, lists_of, plain, vector_columns
from emofuse.store.exchange.exporting import Export
from emofuse.store.exchange.feature_metadata import FeatureMetadata, origin_of, read_side_file
from emofuse.store.exchange.feature_metadata import parse as parse_said
from emofuse.store.exchange.registry import FORMATS, Asked, ForeignSource, Format, Reading, library

TEXTS = ("text", "label", "speaker", "session", "dialogue", "split", "audio", "audio_digest")
NUMBERS = ("seconds", "start", "end")
ROWS = 64
"""Rows that are read at once."""
Tables = Callable[[list[str]], Iterator[Any]]
"""Column names -> record batches or tables with them."""


def _open(path: Path, asked: Asked) -> ForeignSource:
    pq, pa = library("pyarrow.parquet"), library("pyarrow")
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files or not all(f.is_file() for f in files):
        raise UsageError(f"--source {path}: no .parquet file there")
    if path.is_dir() and not all(inside(path, f) for f in files):
        raise UsageError(f"--source {path}: links out of the folder are not followed")
    try:
        schemas = {f: pq.read_schema(f) for f in files}
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path.name} is no Parquet file, or damaged: {printable(str(error), 300)}") from None
    first = schemas[files[0]]
    differing = [f.name for f, s in schemas.items() if s.names != first.names]
    if differing:
        raise UsageError(f"--source {path}: {', '.join(differing[:5])} have other columns than {files[0].name}")

    def tables(columns: list[str]) -> Iterator[Any]:
        for file in files:
            try:
                # pages as they come: a row group may be the whole corpus
                with pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20) as opened:
                    yield from opened.iter_batches(batch_size=ROWS, columns=columns)
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"{file.name} is damaged: {printable(str(error), 300)}") from None

    return _source(path, asked, first, tables, FeatureMetadata())


def _open_huggingface(path: Path, asked: Asked) -> ForeignSource:
    datasets, pa = library("datasets"), library("pyarrow")
    if not path.is_dir() or not any((path / name).is_file() for name in ("dataset_info.json", "dataset_dict.json")):
        raise UsageError(f"--source {path}: no folder that `save_to_disk` of Hugging Face's datasets made")
    leaving = [p.name for p in path.rglob("*") if p.is_file() and not inside(path, p)]
    named = [f for state in path.rglob("state.json") for f in _data_files(state) if not inside(path, f)]
    if leaving or named:
        listed = ", ".join(printable(str(n), 60) for n in [*leaving, *(f.name for f in named)][:20])
        raise UsageError(f"--source {path}: files outside of the folder, or missing ones, are not read: {listed}")
    try:
        loaded = datasets.load_from_disk(str(path))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path.name} is damaged: {printable(str(error), 300)}") from None
    parts = dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"": loaded}
    schema = next(iter(parts.values())).features.arrow_schema

    def tables(columns: list[str]) -> Iterator[Any]:
        for split, part in parts.items():
            chosen = part.select_columns([c for c in columns if c in part.column_names])
            for table in chosen.with_format("arrow").iter(batch_size=ROWS):
                fresh = split and "split" in columns and "split" not in table.column_names
                yield table.append_column("split", pa.array([split] * len(table))) if fresh else table

    said = read_side_file(path, asked.name, asked.modality)
    if len(parts) > 1 and "split" not in schema.names:
        schema = schema.append(pa.field("split", pa.string()))
    return _source(path, asked, schema, tables, said)


def _data_files(state: Path) -> list[Path]:
    try:
        return [state.parent / str(row["filename"]) for row in json.loads(state.read_bytes())["_data_files"]]
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{state.parent.name}/state.json is damaged") from None


def _source(path: Path, asked: Asked, schema: Any, tables: Tables, beside: FeatureMetadata) -> ForeignSource:
    if "id" not in schema.names:
        raise UsageError(f"--source {path}: no column 'id'; it has {printable(', '.join(schema.names), 200)}")
    column = _column(path, asked.name, schema)
    raw = (schema.metadata or {}).get(b"emofuse")
    try:
        record = json.loads(raw) if raw else None
        said = beside if beside.known else parse_said(record, asked.name, asked.modality)
        origin = origin_of(record)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the metadata 'emofuse' are damaged: {error}") from None
    told = [
        c for c in (*TEXTS, *OF_TEXT, *NUMBERS, "turn", "extra") if c in schema.names and plain(schema.field(c).type)
    ]
    names = class_names(schema)
    utterances = [_utterance(row, names) for table in tables(["id", *told]) for row in table.to_pylist()]

    def read() -> Reading:
        for table in tables(["id", column]):
            rows = table.column(column)
            for i, id in enumerate(table.column("id").to_pylist()):
                yield id, array_of(rows[i])

    ids = [u.id for u in utterances]
    return ForeignSource(ids=ids, read=read, said=said, utterances=utterances, origin=origin, trimmed=said.known)


def _column(path: Path, name: str, schema: Any) -> str:
    """The column of the feature: the one named like it, or the only one of vectors."""
    vectors = vector_columns(schema)
    if name in vectors or len(vectors) == 1:
        return name if name in vectors else vectors[0]
    raise UsageError(
        f"--source {path}: columns of vectors are {printable(', '.join(vectors), 200) or 'none'}; "
        f"none is called {name!r} like --name"
    )


def _utterance(row: Mapping[str, Any], names: Mapping[str, list[str]]) -> Utterance:
    """The manifest's row.

    Args:
        names: Of columns with class numbers, what the numbers mean.

    Raises:
        UsageError: A cell is not what its column should hold.
    """
    cells = {k: v for k, v in row.items() if v is not None and v != "" and v == v}
    if "text" in cells:
        cells = {k: v for k, v in cells.items() if k not in OF_TEXT}
    for key in ("id", *TEXTS):
        if isinstance(number := cells.get(key), int):  # class numbers, numbered speakers
            known = names.get(key, [])
            cells[key] = known[number] if 0 <= number < len(known) else str(number)
    problems: list[str] = []
    if isinstance(cells.get("extra"), str):
        try:
            cells["extra"] = json.loads(cells["extra"])
        except ValueError:
            problems.append(f"extra is no JSON: {cells['extra'][:40]!r}")
    made = parse(Utterance, cells, problems)
    if made is None or problems:
        raise UsageError(f"a row cannot be read: {printable('; '.join(problems), 300)}")
    return made


def _write(export: Export, out: Path) -> None:
    pa, pq = library("pyarrow"), library("pyarrow.parquet")
    clash = {f.name for f in export.features} & {"id", "turn", "extra", *TEXTS, *OF_TEXT, *NUMBERS}
    if clash:
        raise UsageError(f"a feature called {min(clash)!r} would hide the column of that name")
    metadata = {"emofuse": json.dumps({**export.said, "manifest": export.origin.record()}, ensure_ascii=False)}
    further = [name for name in OF_TEXT if any(getattr(u, name) is not None for u in export.utterances)]
    writer = None
    try:
        for block in export.blocks():
            columns: dict[str, Any] = {"id": pa.array([u.id for u in block], pa.string())}
            for key in (*TEXTS, *further):
                columns[key] = pa.array([getattr(u, key) for u in block], pa.string())
            for key in NUMBERS:
                columns[key] = pa.array([getattr(u, key) for u in block], pa.float64())
            columns["turn"] = pa.array([u.turn for u in block], pa.int64())
            columns["extra"] = pa.array([json.dumps(dict(u.extra)) if u.extra else None for u in block], pa.string())
            for feature in export.features:
                columns[feature.name] = _frames(export, feature, block)
            table = pa.table(columns).replace_schema_metadata(metadata)
            writer = writer or pq.ParquetWriter(out, table.schema, compression="zstd")
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _frames(export: Export, feature: Feature, block: list[Utterance]) -> Any:
    arrays: list[NDArray[Any]] = [frames.astype(np.float32) for _, frames in export.read_block(feature, block)]
    return lists_of(arrays)


FORMATS.add(
    "parquet",
    "Parquet, one row per utterance; Hugging Face's load_dataset('parquet') reads it.",
    Format(open=_open, write=_write, folder=False, several=True, layered=True),
)
FORMATS.add(
    "huggingface",
    "A folder that save_to_disk of Hugging Face's datasets made (read only).",
    Format(open=_open_huggingface),
)
