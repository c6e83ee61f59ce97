"""emotion2vec's files for one split: PREFIX.npy, PREFIX.lengths, and PREFIX.emo or PREFIX.tsv.

As iemocap_downstream/scripts of the project writes them: all utterances' frames end to end, [sum T, D]; a line with the
number of frames of each; a line `ID<tab>EMOTION` of each; and fairseq's manifest, whose first line is the audio's root
and whose others are `PATH<tab>SAMPLES`. A line's number is all that joins these files among themselves, so the ids must
be in one of them; they are never taken from the order of another manifest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from emofuse.common.console import printable
from emofuse.common.errors import DataError, UsageError, complain
from emofuse.manifests.schema import Utterance
from emofuse.store.exchange.arrays import inside, read_header, text_of
from emofuse.store.exchange.exporting import Export
from emofuse.store.exchange.feature_metadata import read_side_file, write_side_file
from emofuse.store.exchange.registry import FORMATS, Asked, Bad, ForeignSource, Format, Reading

SPLIT = "train"
"""The name that the project's own scripts give to a whole corpus."""
UNLABELLED = "-"
"""Stands in .emo for an utterance without a label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The files of one prefix, checked against each other."""

    npy: Path
    ids: list[str]
    lengths: list[int]
    labels: list[str | None]
    audio: list[str | None]


def _open(path: Path, asked: Asked) -> ForeignSource:
    parts = [_part(prefix) for prefix in _prefixes(path)]
    utterances = [
        Utterance(id=id, label=label, audio=audio)
        for part in parts
        for id, label, audio in zip(part.ids, part.labels, part.audio, strict=True)
    ]

    def read() -> Reading:
        for part in parts:
            yield from _frames(part)

    folder = path if path.is_dir() else path.parent
    return ForeignSource(
        ids=[u.id for u in utterances],
        read=read,
        said=read_side_file(folder, asked.name, asked.modality),
        utterances=utterances,
        trimmed=True,
    )


def _prefixes(path: Path) -> list[Path]:
    """PREFIX of every pair PREFIX.npy and PREFIX.lengths that `path` stands for."""
    if path.is_dir():
        found = [p.with_suffix("") for p in sorted(path.glob("*.lengths")) if p.with_suffix(".npy").exists()]
        if not found:
            raise UsageError(f"--source {path}: no pair of PREFIX.npy and PREFIX.lengths in that folder")
    else:
        prefix = path.with_suffix("") if path.suffix in (".npy", ".lengths", ".emo", ".tsv") else path
        found = [prefix]
        absent = [s for s in (".npy", ".lengths") if not _file(prefix, s).exists()]
        if absent:
            raise UsageError(f"--source {path}: {' and '.join(prefix.name + s for s in absent)} missing")
    for prefix in found:
        leaving = [s for s in (".npy", ".lengths", ".emo", ".tsv") if _file(prefix, s).is_symlink()
                   and not inside(prefix.parent, _file(prefix, s))]  # fmt: skip
        complain([f"{prefix.name}{s} is a link out of its folder" for s in leaving], f"--source {path}")
    return found


def _file(prefix: Path, suffix: str) -> Path:
    return prefix.with_name(prefix.name + suffix)


def _part(prefix: Path) -> Part:
    """Read the small files of a prefix.

    Raises:
        UsageError: No file has ids.
        DataError: The files contradict each other.
    """
    try:
        lengths = [int(line) for line in text_of(_file(prefix, ".lengths")).split()]
    except ValueError:
        raise DataError(f"{prefix.name}.lengths: a whole number on each line was expected") from None
    emo = [line.split() for line in _lines(_file(prefix, ".emo"))]
    tsv = [line.split("\t")[0] for line in _lines(_file(prefix, ".tsv"), after=1)]
    if not emo and not tsv:
        raise UsageError(
            f"{prefix.name}.emo and {prefix.name}.tsv are both missing or empty: nothing says whose frames these are. "
            "Put the one that the features were extracted from beside them; ids are never taken by position from "
            "a manifest"
        )
    wrong = [f".{kind} has {len(rows)} utterances" for kind, rows in (("emo", emo), ("tsv", tsv))
             if rows and len(rows) != len(lengths)]  # fmt: skip
    if wrong:
        raise DataError(
            f"{prefix.name}.lengths has {len(lengths)} utterances, {' and '.join(wrong)}: not of one extraction"
        )
    stems = [PurePosixPath(name).stem for name in tsv]
    ids = [row[0] for row in emo] or stems
    differing = [f"line {i + 1}: {printable(a)} and {printable(b)}"
                 for i, (a, b) in enumerate(zip(ids, stems, strict=False)) if a != b]  # fmt: skip
    complain(differing, f"{prefix.name}.emo and {prefix.name}.tsv name different utterances")
    negative = [id for id, n in zip(ids, lengths, strict=True) if n < 0]
    complain([f"{printable(id)} has a negative length" for id in negative], f"{prefix.name}.lengths")
    header = read_header(_file(prefix, ".npy"))
    if isinstance(header, Bad):
        raise (DataError if header.damaged else UsageError)(header.why)
    if len(header.shape) != 2 or header.fortran or header.shape[0] != sum(lengths):
        raise DataError(
            f"{prefix.name}.npy has shape {header.shape}, but the lengths of {len(lengths)} utterances add up to "
            f"{sum(lengths)} frames: not of one extraction"
        )
    labels = [row[1] if len(row) > 1 and row[1] != UNLABELLED else None for row in emo] or [None] * len(ids)
    return Part(npy=_file(prefix, ".npy"), ids=ids, lengths=lengths, labels=labels, audio=[*tsv] or [None] * len(ids))


def _lines(path: Path, after: int = 0) -> list[str]:
    """The lines of a file that are not empty, without the first `after`; none where there is no file."""
    return [line for line in text_of(path).split("\n")[after:] if line.strip()] if path.is_file() else []


def _frames(part: Part) -> Reading:
    """Each utterance's frames, read one after the other."""
    header = read_header(part.npy)
    if isinstance(header, Bad):
        raise DataError(header.why)
    width = header.shape[1]
    with part.npy.open("rb") as file:
        file.seek(header.offset)
        for id, frames in zip(part.ids, part.lengths, strict=True):
            values = np.fromfile(file, header.dtype, frames * width)
            if len(values) != frames * width:
                raise DataError(f"{part.npy.name} became shorter while it was read")
            yield id, values.reshape(frames, width)


def _write(export: Export, out: Path) -> None:
    (feature,) = export.features
    complain(
        [f"{u.id!r}, label {u.label!r}" for u in export.utterances if _spaced(u.id) or _spaced(u.label or UNLABELLED)],
        "an .emo file cannot hold ids or labels with spaces",
    )
    lengths = export.lengths(feature)
    dtype = np.dtype("<f2" if feature.spec.dtype == "float16" else "<f4")
    header = {"descr": dtype.str, "fortran_order": False, "shape": (sum(lengths), feature.dimension)}
    with (out / f"{SPLIT}.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for _, frames in export.read(feature):
            file.write(np.ascontiguousarray(frames, dtype).tobytes())
    (out / f"{SPLIT}.lengths").write_text("".join(f"{n}\n" for n in lengths))
    rows = (f"{u.id}\t{u.label or UNLABELLED}\n" for u in export.utterances)
    (out / f"{SPLIT}.emo").write_text("".join(rows), encoding="utf-8")
    write_side_file(out, export.said)


def _spaced(word: str) -> bool:
    return word.split() != [word]


FORMATS.add(
    "emotion2vec",
    "emotion2vec's PREFIX.npy, .lengths and .emo (or .tsv), for whole corpora.",
    Format(open=_open, write=_write),
)
