"""Parquet files and folders of Hugging Face's `datasets`: one row per utterance, frames as a list of vectors.

Columns: `id`, the manifest's fields (`text`, `label`, `speaker`, `session`, ...), and one column per feature under its
name: list<fixed_size_list<float>[D]>, with layers one list deeper. The features' metadata, the corpus reader and the
excluded items are stored in the file's metadata under `emofuse`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import DataError, UsageError
from emofuse.common.output.console import printable
from emofuse.manifests.jsonl import parse_record
from emofuse.manifests.schema import TEXT_FIELDS, Utterance
from emofuse.store import Feature
from emofuse.store.exchange.arrays import is_inside
from emofuse.store.exchange.columns import array_of, class_names, is_plain, list_column, vector_columns
from emofuse.store.exchange.feature_metadata import FeatureMetadata, parse_metadata, parse_origin, read_side_file
from emofuse.store.exchange.records import (
    ExportJob,
    FeatureRequest,
    ForeignSource,
    Format,
    FrameStream,
    optional_library,
)

TEXT_COLUMNS = ("text", "label", "speaker", "session", "dialogue", "split", "audio", "audio_digest")
NUMBER_COLUMNS = ("seconds", "start", "end")
ROWS = 64
"""Rows that are read at once."""
TableReader = Callable[[list[str]], Iterator[Any]]
"""Column names -> record batches or tables with these columns."""


def _open(path: Path, request: FeatureRequest) -> ForeignSource:
    pq, pa = optional_library("pyarrow.parquet"), optional_library("pyarrow")
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files or not all(f.is_file() for f in files):
        raise UsageError(f"--source {path}: no .parquet file there")
    if path.is_dir() and not all(is_inside(path, f) for f in files):
        raise UsageError(f"--source {path}: links out of the folder are not followed")
    try:
        schemas = {f: pq.read_schema(f) for f in files}
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path.name} is not a Parquet file, or is damaged: {printable(str(error), 300)}") from None
    first = schemas[files[0]]
    differing = [f.name for f, s in schemas.items() if s.names != first.names]
    if differing:
        raise UsageError(f"--source {path}: {', '.join(differing[:5])} have other columns than {files[0].name}")

    def tables(columns: list[str]) -> Iterator[Any]:
        for file in files:
            try:
                # page by page: a row group may be the whole corpus
                with pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20) as opened:
                    yield from opened.iter_batches(batch_size=ROWS, columns=columns)
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"{file.name} is damaged: {printable(str(error), 300)}") from None

    return _source(path, request, first, tables, FeatureMetadata())


def _open_huggingface(path: Path, request: FeatureRequest) -> ForeignSource:
    datasets, pa = optional_library("datasets"), optional_library("pyarrow")
    if not path.is_dir() or not any((path / name).is_file() for name in ("dataset_info.json", "dataset_dict.json")):
        raise UsageError(f"--source {path}: not a folder that `save_to_disk` of Hugging Face's datasets wrote")
    _refuse_outside_files(path)
    try:
        loaded = datasets.load_from_disk(str(path))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path.name} is damaged: {printable(str(error), 300)}") from None
    splits = dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"": loaded}
    schema = next(iter(splits.values())).features.arrow_schema

    def tables(columns: list[str]) -> Iterator[Any]:
        for name, split in splits.items():
            chosen = split.select_columns([c for c in columns if c in split.column_names])
            for table in chosen.with_format("arrow").iter(batch_size=ROWS):
                add_name = name and "split" in columns and "split" not in table.column_names
                yield table.append_column("split", pa.array([name] * len(table))) if add_name else table

    metadata = read_side_file(path, request.name, request.modality)
    if len(splits) > 1 and "split" not in schema.names:
        schema = schema.append(pa.field("split", pa.string()))
    return _source(path, request, schema, tables, metadata)


def _refuse_outside_files(path: Path) -> None:
    """Refuse a folder with links out of it, or with data files that are missing or elsewhere.

    Raises:
        UsageError: Names them.
        DataError: A `state.json` is damaged.
    """
    leaving = [p.name for p in path.rglob("*") if p.is_file() and not is_inside(path, p)]
    outside = [f.name for state in path.rglob("state.json") for f in _data_files(state) if not is_inside(path, f)]
    if leaving or outside:
        names = ", ".join(printable(name, 60) for name in [*leaving, *outside][:20])
        raise UsageError(f"--source {path}: files outside of the folder, or missing ones, are not read: {names}")


def _data_files(state: Path) -> list[Path]:
    try:
        return [state.parent / str(row["filename"]) for row in json.loads(state.read_bytes())["_data_files"]]
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{state.parent.name}/state.json is damaged") from None


def _source(
    path: Path, request: FeatureRequest, schema: Any, tables: TableReader, side_file: FeatureMetadata
) -> ForeignSource:
    """The opened source.

    Args:
        path: The file or folder, for messages.
        request: The feature to read.
        schema: The Arrow schema of all tables.
        tables: Reads the tables.
        side_file: What a side file declares; it is preferred to the schema's own metadata.

    Raises:
        UsageError: No column `id`, or no column of vectors that fits.
        DataError: The metadata is damaged.
    """
    if "id" not in schema.names:
        raise UsageError(f"--source {path}: no column 'id'; it has {printable(', '.join(schema.names), 200)}")
    column = _feature_column(path, request.name, schema)
    raw = (schema.metadata or {}).get(b"emofuse")
    try:
        record = json.loads(raw) if raw else None
        metadata = side_file if side_file.by_emofuse else parse_metadata(record, request.name, request.modality)
        origin = parse_origin(record)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the metadata 'emofuse' is damaged: {error}") from None
    names = class_names(schema)
    columns = ["id", *_manifest_columns(schema)]
    utterances = [_utterance(row, names) for table in tables(columns) for row in table.to_pylist()]

    def read() -> FrameStream:
        for table in tables(["id", column]):
            rows = table.column(column)
            for i, id in enumerate(table.column("id").to_pylist()):
                yield id, array_of(rows[i])

    return ForeignSource(
        ids=[u.id for u in utterances],
        read=read,
        metadata=metadata,
        utterances=utterances,
        origin=origin,
        has_lengths=metadata.by_emofuse,
    )


def _feature_column(path: Path, name: str, schema: Any) -> str:
    """The column of the feature: the one of its name, or the only one of vectors."""
    vectors = vector_columns(schema)
    if name in vectors or len(vectors) == 1:
        return name if name in vectors else vectors[0]
    raise UsageError(
        f"--source {path}: columns of vectors are {printable(', '.join(vectors), 200) or 'none'}; "
        f"none is called {name!r} like --name"
    )


def _manifest_columns(schema: Any) -> list[str]:
    """The columns that describe utterances, apart from `id`."""
    columns = (*TEXT_COLUMNS, *TEXT_FIELDS, *NUMBER_COLUMNS, "turn", "extra")
    return [c for c in columns if c in schema.names and is_plain(schema.field(c).type)]


def _utterance(row: Mapping[str, Any], names: Mapping[str, list[str]]) -> Utterance:
    """The manifest's row.

    Args:
        row: Column -> cell.
        names: Of columns with class numbers, the names of the classes.

    Raises:
        UsageError: A cell has an invalid value.
    """
    cells = {k: v for k, v in row.items() if v is not None and v != "" and v == v}
    if "text" in cells:
        cells = {k: v for k, v in cells.items() if k not in TEXT_FIELDS}
    for key in ("id", *TEXT_COLUMNS):
        if isinstance(number := cells.get(key), int):  # class numbers, numbered speakers
            known = names.get(key, [])
            cells[key] = known[number] if 0 <= number < len(known) else str(number)
    problems: list[str] = []
    if isinstance(cells.get("extra"), str):
        try:
            cells["extra"] = json.loads(cells["extra"])
        except ValueError:
            problems.append(f"extra is not JSON: {cells['extra'][:40]!r}")
    utterance = parse_record(Utterance, cells, problems)
    if utterance is None or problems:
        raise UsageError(f"a row cannot be read: {printable('; '.join(problems), 300)}")
    return utterance


def _write(job: ExportJob, out: Path) -> None:
    pa, pq = optional_library("pyarrow"), optional_library("pyarrow.parquet")
    reserved = {f.name for f in job.features} & {"id", "turn", "extra", *TEXT_COLUMNS, *TEXT_FIELDS, *NUMBER_COLUMNS}
    if reserved:
        raise UsageError(f"a feature called {min(reserved)!r} would hide the column of that name")
    metadata = {"emofuse": json.dumps({**job.metadata, "manifest": job.origin.record()}, ensure_ascii=False)}
    of_text = [name for name in TEXT_FIELDS if any(getattr(u, name) is not None for u in job.utterances)]
    writer = None
    try:
        for block in job.blocks():
            columns = _utterance_columns(block, of_text)
            for feature in job.features:
                columns[feature.name] = _frame_column(job, feature, block)
            table = pa.table(columns).replace_schema_metadata(metadata)
            writer = writer or pq.ParquetWriter(out, table.schema, compression="zstd")
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _utterance_columns(block: list[Utterance], of_text: list[str]) -> dict[str, Any]:
    """The columns of the manifest's fields."""
    pa = optional_library("pyarrow")
    columns: dict[str, Any] = {"id": pa.array([u.id for u in block], pa.string())}
    for key in (*TEXT_COLUMNS, *of_text):
        columns[key] = pa.array([getattr(u, key) for u in block], pa.string())
    for key in NUMBER_COLUMNS:
        columns[key] = pa.array([getattr(u, key) for u in block], pa.float64())
    columns["turn"] = pa.array([u.turn for u in block], pa.int64())
    columns["extra"] = pa.array([json.dumps(dict(u.extra)) if u.extra else None for u in block], pa.string())
    return columns


def _frame_column(job: ExportJob, feature: Feature, block: list[Utterance]) -> Any:
    arrays: list[NDArray[Any]] = [frames.astype(np.float32) for _, frames in job.read_block(feature, block)]
    return list_column(arrays)


PARQUET = Format(open=_open, write=_write, writes_folder=False, several_features=True, takes_layers=True)
HUGGINGFACE = Format(open=_open_huggingface)
