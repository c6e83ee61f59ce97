"""RAVDESS: 24 North American actors say two sentences in eight emotions (Livingstone and Russo 2018).

Read is the speech part (`Audio_Speech_Actors_01-24`), with or without its outer folder. A name is seven numbers:
modality, channel, emotion, intensity, statement, repetition, actor.
"""

from __future__ import annotations

import re
from pathlib import Path

from emofuse.datasets.base import Corpus, ReaderOptions, first_of_each, relative, settled, wav_files
from emofuse.manifests.schema import Excluded, Manifest, Utterance

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
STATEMENTS = ("Kids are talking by the door.", "Dogs are sitting by the door.")
INTENSITIES = ("normal", "strong")
_NAME = re.compile(r"0[123]-0[12]-0[1-8]-0[12]-0[12]-0[12]-(0[1-9]|1\d|2[0-4])")


def read(root: Path, options: ReaderOptions) -> Manifest:
    """Every spoken clip, by actor and name; songs are excluded."""
    files = list(wav_files(root))
    clips, excluded = first_of_each([(p.stem, p) for p in files if _NAME.fullmatch(p.stem)], root)
    excluded += [
        Excluded(id=relative(p, root), reason="not named as a clip of RAVDESS")
        for p in files
        if not _NAME.fullmatch(p.stem)
    ]
    utterances = []
    for key, path in sorted(clips.items(), key=lambda item: (item[0][-2:], item[0])):
        _, channel, emotion, intensity, statement, repetition, actor = (int(n) for n in key.split("-"))
        if channel != 1:
            excluded.append(Excluded(id=key, reason="sung, not spoken"))
            continue
        utterances.append(
            Utterance(
                id=key,
                audio=relative(path, root),
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
    return settled("ravdess", "ravdess-1", root, utterances, excluded)


RAVDESS = Corpus(
    name="ravdess",
    description="RAVDESS: 24 actors, 1440 acted clips of two English sentences",
    page="https://zenodo.org/records/1188976",
    layout="Actor_01/03-01-01-01-01-01-01.wav ..., with or without an outer folder",
    looks_like=lambda root: any(_NAME.fullmatch(path.stem) for path in wav_files(root)),
    read=read,
    groups=tuple(f"Actor_{n:02d}" for n in range(1, 25)),
)
