"""SAVEE: four British men, 120 acted sentences each in seven emotions (Haq and Jackson 2010).

Clips lie in a folder per speaker (`AudioData/DC/a01.wav`) or flat (`DC_a01.wav`): emotion code and sentence number.
The release has no transcripts: pass your own CSV with columns id (`DC_a01` or `DC-a01`) and text.
There are no recording sessions, so a speaker is also a session.
"""

from __future__ import annotations

import re
from pathlib import Path

from emofuse.common.errors import UsageError
from emofuse.datasets.base import (
    Corpus,
    ReaderOptions,
    build_manifest,
    clips_by_id,
    csv_rows,
    relative_path,
    wav_files,
)
from emofuse.manifests.schema import Manifest, Utterance

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
    texts = _transcripts(options.transcripts, set(clips)) if options.transcripts else {}
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
    return build_manifest("savee", "savee-1", root, utterances, excluded)


def _transcripts(path: Path, known: set[str]) -> dict[str, str]:
    rows = csv_rows(path, ("id", "text"))
    texts = {row["id"].strip().replace("-", "_"): row["text"].strip() for _, row in rows}
    if not known & texts.keys():
        example = next(iter(texts), "no row")
        raise UsageError(f"--transcripts {path} has no clip of SAVEE; ids look like DC_a01, the file has {example!r}")
    return texts


SAVEE = Corpus(
    name="savee",
    description="SAVEE: 4 British men, 480 acted sentences; transcripts by --transcripts CSV",
    page="http://kahlan.eps.surrey.ac.uk/savee/Download.html",
    layout="AudioData/DC/a01.wav ... or DC_a01.wav ...",
    language="en",
    looks_like=lambda root: any(clip_id(path) for path in wav_files(root)),
    read=read,
    groups=SPEAKERS,
    options=("transcripts",),
)
