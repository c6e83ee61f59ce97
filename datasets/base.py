"""What every corpus reader is, where a corpus is looked for, and the steps that all readers share.

A reader lists what the annotation names, in a fixed order, and never decodes audio: whether a clip can be read, and how
long it is, is found out where audio is decoded.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from emofuse.common.errors import UsageError
from emofuse.manifests.schema import Excluded, Manifest, Utterance, no_file

CORPORA_VARIABLE = "EMOFUSE_CORPORA"
DEEPEST = 4
"""How far below its root a corpus's audio may lie, in folders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderOptions:
    """What a user may choose about a corpus; each reader names the options it accepts."""

    transcripts: Path | None = None
    """CSV with columns id and text, for a corpus whose release has no transcripts."""
    meld_clips: str | None = None
    """`plain` (the default) or `recut`: the clips of MELD's test split that its release carries twice, as cut anew."""
    manifest: Path | None = None
    """A user's own CSV or JSON Lines of utterances."""

    def given(self) -> dict[str, str]:
        """Each option in use, by name, as its command-line flag."""
        return {
            name: "--" + name.replace("_", "-") for name in self.__dataclass_fields__ if getattr(self, name) is not None
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A registered corpus: where it comes from, how its folder is recognised, how it is read."""

    name: str
    description: str
    page: str
    """Where the corpus is requested or downloaded."""
    layout: str
    """What its root holds, in words, for the error when it does not."""
    looks_like: Callable[[Path], bool]
    """Whether a folder is laid out as this corpus."""
    read: Callable[[Path, ReaderOptions], Manifest]
    options: tuple[str, ...] = ()
    """The fields of `ReaderOptions` that have an effect."""
    groups: tuple[str, ...] = ()
    """The sessions, or speakers where there are none, of the whole release."""

    def absent_groups(self, manifest: Manifest) -> list[str]:
        """Groups of which there is nothing: a release may have been unpacked, or copied, in part."""
        there = {of for u in manifest.utterances for of in (u.session, u.speaker)}
        return [group for group in self.groups if group not in there]


def corpus_root(name: str, given: Path | None) -> Path:
    """The folder of a corpus: the given one, else `$EMOFUSE_CORPORA/<name>`, else `corpora/<name>`.

    Raises:
        UnknownNameError: No such corpus; lists the valid ones.
        UsageError: The folder is missing; names all three places and the page where the corpus is requested.
    """
    from emofuse.datasets.registry import CORPORA  # the registry imports the readers, and they import this module

    corpus = CORPORA[name]
    base = os.environ.get(CORPORA_VARIABLE)
    root = given or (Path(base) / name if base else Path("corpora") / name)
    if root.is_dir():
        return root
    what = f"{root} is a file, not a folder" if root.exists() else f"no folder {root}"
    variable = f"${CORPORA_VARIABLE}/{name} ({base + '/' + name if base else 'not set'})"
    raise UsageError(
        f"{what} to read corpus {name} from. Places, of which the first given one counts: "
        f"--root ({given or 'not given'}), {variable}, corpora/{name}. The corpus: {corpus.page}"
    )


def listing(root: Path, most: int = 8) -> str:
    """The first names in a folder, for an error message."""
    names = sorted(p.name + ("/" if p.is_dir() else "") for p in root.iterdir() if not p.name.startswith("."))
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "nothing"


def text_lines(path: Path) -> list[str]:
    """The lines of an annotation file; a line that is not UTF-8 is taken as Windows-1252."""

    def decoded(line: bytes) -> str:
        try:
            return line.decode("utf-8-sig")
        except UnicodeDecodeError:
            return line.decode("cp1252", errors="replace")

    return [decoded(line) for line in path.read_bytes().splitlines()]


def csv_rows(path: Path, needed: Iterable[str]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV or TSV file with their numbers (the header is row 1); empty rows are passed by.

    Raises:
        UsageError: The file is absent, lacks a needed column, or a row is longer or shorter than the header.
    """
    if not path.is_file():
        raise UsageError(f"no file {path}")
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        rows = list(csv.reader((line + "\n" for line in text_lines(path)), delimiter=delimiter))
    except csv.Error as error:
        raise UsageError(f"{path} cannot be read as CSV: {error}") from None
    header = [cell.strip() for cell in rows[0]] if rows else []
    missing = [c for c in needed if c not in header]
    if missing:
        raise UsageError(f"{path} lacks the column {', '.join(missing)}; it has: {', '.join(header) or 'none'}")
    body = [(number, row) for number, row in enumerate(rows[1:], 2) if any(cell.strip() for cell in row)]
    wrong = [f"row {number} has {len(row)}" for number, row in body if len(row) != len(header)]
    if wrong:
        raise UsageError(
            f"{path}: {'; '.join(wrong[:5])} cells where the header has {len(header)}; quote cells with commas"
        )
    return [(number, dict(zip(header, row, strict=True))) for number, row in body]


def wav_files(root: Path, depth: int = DEEPEST) -> Iterator[Path]:
    """Every wav file below `root`, each folder in order; links are followed, `._*` files and folders ignored."""
    entries = sorted(p for p in root.iterdir() if not p.name.startswith("."))
    yield from (p for p in entries if p.suffix.lower() == ".wav" and p.is_file())
    if depth > 0:
        for folder in entries:
            if folder.is_dir():
                yield from wav_files(folder, depth - 1)


def first_of_each(found: Iterable[tuple[str, Path]], root: Path) -> tuple[dict[str, Path], list[Excluded]]:
    """One file per id, the shallowest; further files of the same id are listed by their path.

    Some archives of RAVDESS and SAVEE that go round hold every clip twice.
    """
    kept: dict[str, Path] = {}
    copies = []
    for key, path in sorted(found, key=lambda item: (item[0], len(item[1].parts), item[1])):
        if kept.setdefault(key, path) != path:
            copies.append(Excluded(id=relative(path, root), reason=f"a second file of {key}"))
    return kept, copies


def relative(path: Path, root: Path) -> str:
    """The path as an utterance names it: from the corpus root, with forward slashes."""
    return path.relative_to(root).as_posix()


def settled(
    corpus: str,
    reader: str,
    root: Path,
    utterances: Iterable[Utterance],
    excluded: Iterable[Excluded] = (),
    reasons: Mapping[str, str] | None = None,
) -> Manifest:
    """The manifest of what a reader found; an audio file that is not there is listed as excluded, with the reason.

    An utterance that lacks its audio stays with its text, if it has one.

    Args:
        reasons: Why the audio of an utterance is known to be missing, by utterance id.

    Raises:
        UsageError: Nothing is left.
    """
    gone = list(excluded)
    kept = []
    for u in utterances:
        if u.audio is None or (root / u.audio).is_file():
            kept.append(u)
            continue
        reason = (reasons or {}).get(u.id, no_file(u.audio))
        gone.append(Excluded(id=u.id, reason=reason, modality="audio"))
        if u.text is not None:
            kept.append(replace(u, audio=None))
    if not kept:
        why = f"; all are excluded, {len(gone)} of them, the first, {gone[0].id}: {gone[0].reason}" if gone else ""
        raise UsageError(f"{root} gives no utterance of corpus {corpus}{why}")
    return Manifest(corpus=corpus, reader=reader, utterances=tuple(kept), excluded=tuple(gone))
