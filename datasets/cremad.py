"""CREMA-D: 91 actors, twelve sentences, six emotions in up to four intensities (Cao et al. 2014).

A file name is actor, sentence, emotion and intensity: `1001_DFA_ANG_XX.wav`. The label is the emotion that the actor
was asked for. The release's `VideoDemographics.csv`, if it is there, gives age and sex. The release says of one clip,
1076_MTI_SAD_XX, that it has no sound; one file name ends in `X` instead of `XX`.
"""

from __future__ import annotations

import re
from pathlib import Path

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

SENTENCES = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
INTENSITIES = {"LO": "low", "MD": "medium", "HI": "high"}
DEMOGRAPHICS = "VideoDemographics.csv"
ACTORS = tuple(str(n) for n in range(1001, 1092))
_NAME = re.compile(rf"({'|'.join(ACTORS)})_({'|'.join(SENTENCES)})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX?)")


def clip_id(path: Path) -> str | None:
    """The name without suffix; None for a file that is not a clip of CREMA-D."""
    return path.stem if _NAME.fullmatch(path.stem) else None


def read(root: Path, options: ReaderOptions) -> Manifest:
    """Every clip, by actor, sentence and emotion."""
    clips, excluded = clips_by_id(root, clip_id, "CREMA-D")
    about = _demographics(root)
    utterances = []
    for key, path in clips.items():
        actor, sentence, emotion, intensity = key.split("_")
        degree = {"intensity": INTENSITIES[intensity]} if intensity in INTENSITIES else {}
        utterances.append(
            Utterance(
                id=key,
                audio=relative_path(path, root),
                text=SENTENCES[sentence],
                label=emotion,
                speaker=actor,
                extra={"sentence": sentence, **degree, **about.get(actor, {})},
            )
        )
    return build_manifest("cremad", "cremad-1", root, utterances, excluded)


def _demographics(root: Path) -> dict[str, dict[str, str | int]]:
    """Actor -> sex and age; empty where the release's table is not there."""
    path = root / DEMOGRAPHICS
    if not path.is_file():
        return {}
    rows = (row for _, row in read_table(path, ("ActorID", "Age", "Sex")).rows)
    return {row["ActorID"].strip(): {"sex": row["Sex"].strip().lower(), "age": int(row["Age"])} for row in rows}


CREMAD = Corpus(
    name="cremad",
    description="CREMA-D: 91 actors, 7442 acted clips of twelve English sentences",
    page="https://github.com/CheyneyComputerScience/CREMA-D",
    layout="AudioWAV/1001_DFA_ANG_XX.wav ..., and VideoDemographics.csv for the actors' age and sex",
    language="en",
    size=Size(utterances=7442, hours=5.3, speakers=91, emotions=6),
    licence=LICENCES["cremad"],
    looks_like=lambda root: any(clip_id(path) for path in wav_files(root)),
    read=read,
    groups=ACTORS,
)
