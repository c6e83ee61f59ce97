"""SAVEE: four British men, 120 acted sentences each in seven emotions (Haq and Jackson 2010).

Clips lie in a folder per speaker (`AudioData/DC/a01.wav`) or flat (`DC_a01.wav`): emotion code and sentence number.
The release has no transcripts: pass your own CSV with columns id (`DC_a01` or `DC-a01`) and text.
There are no recording sessions, so a speaker is also a session.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from emofuse.common.errors import UsageError, raise_problems
from emofuse.common.output.console import plural
from emofuse.datasets.base import (
    Corpus,
    ReaderOptions,
    Size,
    build_manifest,
    clips_by_id,
    relative_path,
    wav_files,
)
from emofuse.datasets.reading.tables import read_table
from emofuse.manifests.licences import LICENCES
from emofuse.manifests.schema import Manifest, Utterance

_MOST_LISTED = 10
SPEAKERS = ("DC", "JE", "JK", "KL")
_NAME = re.compile(r"(?:(DC|JE|JK|KL)[_-])?(sa|su|a|d|f|h|n)(\d\d)")


def clip_id(path: Path) -> str | None:
    """`DC_a01` for `DC_a01.wav` and for `DC/a01.wav`; None for a file that is not a clip of SAVEE."""
    match = _NAME.fullmatch(path.stem)
    speaker = (match[1] or path.parent.name) if match else None
    return f"{speaker}_{match[2]}{match[3]}" if match and speaker in SPEAKERS else None


def read(root: Path, options: ReaderOptions) -> Manifest:
    """Every clip, by speaker, emotion code and sentence number."""
    clips, excluded = clips_by_id(root, clip_id, "SAVEE")
    texts, notes = _transcripts(options.transcripts, clips) if options.transcripts else ({}, [])
    utterances = []
    for key, path in clips.items():
        speaker, code = key.split("_")
        utterances.append(
            Utterance(
                id=key,
                audio=relative_path(path, root),
                text=texts.get(key),
                label=code[:-2],
                speaker=speaker,
                session=speaker,
                extra={"sentence": int(code[-2:])},
            )
        )
    return build_manifest("savee", "savee-1", root, utterances, excluded, notes=notes)


def _transcripts(path: Path, clips: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """The texts by clip, and notes on texts without a clip and clips without a text.

    Raises:
        UsageError: No row names a clip, or several name the same one.
    """
    table = read_table(path, ("id", "text"))
    texts: dict[str, str] = {}
    first: dict[str, int] = {}
    problems = []
    for number, row in table.rows:
        key = _transcript_id(row["id"])
        if first.setdefault(key, number) != number:
            problems.append(f"row {number}: id {row['id'].strip()!r} is already used by row {first[key]}")
        texts[key] = row["text"].strip()
    raise_problems(problems, f"--transcripts {path} gives a clip several texts")
    known = list(clips)
    if texts.keys().isdisjoint(known):
        example = next(iter(texts), "no row")
        raise UsageError(f"--transcripts {path} has no clip of SAVEE; ids look like DC_a01, the file has {example!r}")
    notes = _listed("text", "without a clip", [key for key in texts if key not in set(known)])
    notes += _listed("clip", "without a text", [key for key in known if key not in texts])
    return texts, [*table.notes, *(f"--transcripts {path}: {note}" for note in notes)]


def _transcript_id(given: str) -> str:
    """`DC_a01` for `DC_a01`, `DC-a01`, `dc_a01` and `DC_a01.wav`; other text unchanged."""
    key = clip_id(Path(_upper_speaker(given.strip().replace("-", "_"))))
    return key or given.strip()


def _upper_speaker(name: str) -> str:
    speaker, separator, rest = name.partition("_")
    return f"{speaker.upper()}{separator}{rest.lower().removesuffix('.wav')}"


def _listed(noun: str, what: str, ids: Sequence[str]) -> list[str]:
    if not ids:
        return []
    more = f" and {len(ids) - _MOST_LISTED} more" if len(ids) > _MOST_LISTED else ""
    return [f"{plural(len(ids), noun)} {what}: {', '.join(ids[:_MOST_LISTED])}{more}"]


SAVEE = Corpus(
    name="savee",
    description="SAVEE: 4 British men, 480 acted sentences; transcripts by --transcripts CSV",
    page="http://kahlan.eps.surrey.ac.uk/savee/Download.html",
    layout="AudioData/DC/a01.wav ... or DC_a01.wav ...",
    language="en",
    size=Size(utterances=480, hours=0.5, speakers=4, emotions=7),
    licence=LICENCES["savee"],
    looks_like=lambda root: any(clip_id(path) for path in wav_files(root)),
    read=read,
    groups=SPEAKERS,
    options=("transcripts",),
)
