"""emotion2vec's files for one split: PREFIX.npy, PREFIX.lengths, and PREFIX.emo or PREFIX.tsv.

As iemocap_downstream/scripts of the project writes them: all utterances' frames end to end, [sum T, D]; one line per
utterance with its number of frames; one line `ID<tab>EMOTION` per utterance; and fairseq's manifest, whose first line
is the audio's root folder, followed by one line `PATH<tab>SAMPLES` per utterance. Only the line number joins these
files to each other, so one of them must have the ids; ids are never taken from the order of another manifest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from emofuse.common.errors import DataError, UsageError, raise_problems
from emofuse.common.output.console import printable
from emofuse.manifests.schema import Utterance
from emofuse.store.exchange.arrays import is_inside, read_header, read_text
from emofuse.store.exchange.feature_metadata import read_side_file, write_side_file
from emofuse.store.exchange.records import ExportJob, FeatureRequest, ForeignSource, Format, FrameStream, Unusable

PREFIX = "train"
"""The name that the project's own scripts give to a whole corpus."""
UNLABELLED = "-"
"""The label in .emo of an utterance without a label."""
SUFFIXES = (".npy", ".lengths", ".emo", ".tsv")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixFiles:
    """The files of one prefix, checked against each other."""

    npy: Path
    ids: list[str]
    lengths: list[int]
    """Frames of each utterance."""
    labels: list[str | None]
    audio: list[str | None]


def _open(path: Path, request: FeatureRequest) -> ForeignSource:
    prefixes = [_read_prefix(prefix) for prefix in _prefixes(path)]
    utterances = [
        Utterance(id=id, label=label, audio=audio)
        for files in prefixes
        for id, label, audio in zip(files.ids, files.labels, files.audio, strict=True)
    ]

    def read() -> FrameStream:
        for files in prefixes:
            yield from _frames(files)

    folder = path if path.is_dir() else path.parent
    return ForeignSource(
        ids=[u.id for u in utterances],
        read=read,
        metadata=read_side_file(folder, request.name, request.modality),
        utterances=utterances,
        has_lengths=True,
    )


def _prefixes(path: Path) -> list[Path]:
    """PREFIX of every pair PREFIX.npy and PREFIX.lengths that `path` names."""
    if path.is_dir():
        prefixes = [p.with_suffix("") for p in sorted(path.glob("*.lengths")) if p.with_suffix(".npy").exists()]
        if not prefixes:
            raise UsageError(f"--source {path}: no pair of PREFIX.npy and PREFIX.lengths in that folder")
    else:
        prefix = path.with_suffix("") if path.suffix in SUFFIXES else path
        prefixes = [prefix]
        missing = [s for s in (".npy", ".lengths") if not _file(prefix, s).exists()]
        if missing:
            raise UsageError(f"--source {path}: {' and '.join(prefix.name + s for s in missing)} missing")
    for prefix in prefixes:
        files = [_file(prefix, suffix) for suffix in SUFFIXES]
        leaving = [file for file in files if file.is_symlink() and not is_inside(prefix.parent, file)]
        raise_problems([f"{file.name} is a link out of its folder" for file in leaving], f"--source {path}")
    return prefixes


def _file(prefix: Path, suffix: str) -> Path:
    return prefix.with_name(prefix.name + suffix)


def _read_prefix(prefix: Path) -> PrefixFiles:
    """Read the small files of a prefix.

    Raises:
        UsageError: No file has ids, or two files have different ones.
        DataError: The files contradict each other.
    """
    try:
        lengths = [int(line) for line in read_text(_file(prefix, ".lengths")).split()]
    except ValueError:
        raise DataError(f"{prefix.name}.lengths: expected a whole number on each line") from None
    emo = [line.split() for line in _lines(_file(prefix, ".emo"))]
    tsv = [line.split("\t")[0] for line in _lines(_file(prefix, ".tsv"), skip=1)]
    ids = _joined_ids(prefix, len(lengths), emo, tsv)
    negative = [id for id, n in zip(ids, lengths, strict=True) if n < 0]
    raise_problems([f"{printable(id)} has a negative length" for id in negative], f"{prefix.name}.lengths")
    header = read_header(_file(prefix, ".npy"))
    if isinstance(header, Unusable):
        raise (DataError if header.damaged else UsageError)(header.reason)
    if len(header.shape) != 2 or header.fortran or header.shape[0] != sum(lengths):
        raise DataError(
            f"{prefix.name}.npy has shape {header.shape}, but the lengths of {len(lengths)} utterances add up to "
            f"{sum(lengths)} frames: these files are not from the same extraction"
        )
    labels = [row[1] if len(row) > 1 and row[1] != UNLABELLED else None for row in emo] or [None] * len(ids)
    audio: list[str | None] = [*tsv] or [None] * len(ids)
    return PrefixFiles(npy=_file(prefix, ".npy"), ids=ids, lengths=lengths, labels=labels, audio=audio)


def _joined_ids(prefix: Path, count: int, emo: list[list[str]], tsv: list[str]) -> list[str]:
    """The ids of the utterances, from `.emo`, or from the file names in `.tsv`.

    Raises:
        UsageError: Neither has ids, or their ids differ.
        DataError: They do not have `count` utterances.
    """
    if not emo and not tsv:
        raise UsageError(
            f"{prefix.name}.emo and {prefix.name}.tsv are both missing or empty: nothing says whose frames these are. "
            "Put the one that the features were extracted from beside them; ids are never taken by position from "
            "a manifest"
        )
    wrong = [
        f".{kind} has {len(rows)} utterances"
        for kind, rows in (("emo", emo), ("tsv", tsv))
        if rows and len(rows) != count
    ]
    if wrong:
        raise DataError(
            f"{prefix.name}.lengths has {count} utterances, {' and '.join(wrong)}: "
            "these files are not from the same extraction"
        )
    stems = [PurePosixPath(name).stem for name in tsv]
    ids = [row[0] for row in emo] or stems
    differing = [
        f"line {number}: {printable(a)} and {printable(b)}"
        for number, (a, b) in enumerate(zip(ids, stems, strict=False), 1)
        if a != b
    ]
    raise_problems(differing, f"{prefix.name}.emo and {prefix.name}.tsv name different utterances")
    return ids


def _lines(path: Path, skip: int = 0) -> list[str]:
    """The non-empty lines of a file after the first `skip`; an empty list where there is no file."""
    return [line for line in read_text(path).split("\n")[skip:] if line.strip()] if path.is_file() else []


def _frames(files: PrefixFiles) -> FrameStream:
    """Each utterance's frames [T, D], read one after the other."""
    header = read_header(files.npy)
    if isinstance(header, Unusable):
        raise DataError(header.reason)
    width = header.shape[1]
    with files.npy.open("rb") as file:
        file.seek(header.offset)
        for id, frames in zip(files.ids, files.lengths, strict=True):
            values = np.fromfile(file, header.dtype, frames * width)
            if len(values) != frames * width:
                raise DataError(f"{files.npy.name} became shorter while it was read")
            yield id, values.reshape(frames, width)


def _write(job: ExportJob, out: Path) -> None:
    (feature,) = job.features
    raise_problems(
        [
            f"{u.id!r}, label {u.label!r}"
            for u in job.utterances
            if not _is_one_word(u.id) or not _is_one_word(u.label or UNLABELLED)
        ],
        "an .emo file cannot hold ids or labels with spaces",
    )
    lengths = job.lengths(feature)
    dtype = np.dtype("<f2" if feature.spec.dtype == "float16" else "<f4")
    header = {"descr": dtype.str, "fortran_order": False, "shape": (sum(lengths), feature.dimension)}
    with (out / f"{PREFIX}.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for _, frames in job.read(feature):
            file.write(np.ascontiguousarray(frames, dtype).tobytes())
    (out / f"{PREFIX}.lengths").write_text("".join(f"{n}\n" for n in lengths))
    rows = (f"{u.id}\t{u.label or UNLABELLED}\n" for u in job.utterances)
    (out / f"{PREFIX}.emo").write_text("".join(rows), encoding="utf-8")
    write_side_file(out, job.metadata)


def _is_one_word(text: str) -> bool:
    return text.split() == [text]


EMOTION2VEC = Format(open=_open, write=_write)
