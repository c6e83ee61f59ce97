"""RAVDESS: 24 North American actors, two sentences, eight emotions (Livingstone and Russo 2018).

Only the speech files are used (`Audio_Speech_Actors_01-24`), with or without the outer folder. A file name is seven
numbers: modality, channel, emotion, intensity, statement, repetition, actor.
"""

from __future__ import annotations

import re
from pathlib import Path

from emofuse.datasets.base import Corpus, ReaderOptions, Size, build_manifest, clips_by_id, relative_path, wav_files
from emofuse.manifests.licences import LICENCES
from emofuse.manifests.schema import Excluded, Manifest, Utterance

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
STATEMENTS = ("Kids are talking by the door.", "Dogs are sitting by the door.")
INTENSITIES = ("normal", "strong")
_NAME = re.compile(r"0[123]-0[12]-0[1-8]-0[12]-0[12]-0[12]-(0[1-9]|1\d|2[0-4])")


def clip_id(path: Path) -> str | None:
    """The name without suffix; None for a file that is not a clip of RAVDESS."""
    return path.stem if _NAME.fullmatch(path.stem) else None


def read(root: Path, options: ReaderOptions) -> Manifest:
    """Every spoken clip, by actor and name; songs are excluded."""
    clips, excluded = clips_by_id(root, clip_id, "RAVDESS")
    utterances = []
    for key, path in sorted(clips.items(), key=lambda item: (item[0][-2:], item[0])):
        _, channel, emotion, intensity, statement, repetition, actor = (int(n) for n in key.split("-"))
        if channel != 1:
            excluded.append(Excluded(id=key, reason="sung, not spoken"))
            continue
        utterances.append(
            Utterance(
                id=key,
                audio=relative_path(path, root),
                text=STATEMENTS[statement - 1],
                label=EMOTIONS[emotion - 1],
                speaker=f"Actor_{actor:02d}",
                extra={
                    "intensity": INTENSITIES[intensity - 1],
                    "statement": statement,
                    "repetition": repetition,
                    "sex": "female" if actor % 2 == 0 else "male",
                },
            )
        )
    return build_manifest("ravdess", "ravdess-1", root, utterances, excluded)


RAVDESS = Corpus(
    name="ravdess",
    description="RAVDESS: 24 actors, 1440 acted clips of two English sentences",
    page="https://zenodo.org/records/1188976",
    layout="Actor_01/03-01-01-01-01-01-01.wav ..., with or without an outer folder",
    language="en",
    size=Size(utterances=1440, hours=1.5, speakers=24, emotions=8),
    licence=LICENCES["ravdess"],
    looks_like=lambda root: any(clip_id(path) for path in wav_files(root)),
    read=read,
    groups=tuple(f"Actor_{n:02d}" for n in range(1, 25)),
)
