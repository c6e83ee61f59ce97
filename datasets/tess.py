"""TESS: two Canadian actresses, 200 words in one carrier sentence, seven emotions (Dupuis and Pichora-Fuller 2010).

A file name is speaker, word and emotion: `OAF_back_angry.wav`. OAF is 64 years old, YAF is 26; `ps` is pleasant
surprise. Folders are ignored: their spelling varies (`OAF_Pleasant_surprise`, `YAF_pleasant_surprised`), and a
circulating archive has all of them twice. One file of the release is misspelled, `OA_bite_neutral.wav`, and is OAF.
"""

from __future__ import annotations

import re
from pathlib import Path

from emofuse.datasets.base import Corpus, ReaderOptions, Size, build_manifest, clips_by_id, relative_path, wav_files
from emofuse.manifests.licences import LICENCES
from emofuse.manifests.schema import Manifest, Utterance

AGES = {"OAF": 64, "YAF": 26}
_NAME = re.compile(r"(OAF?|YAF)_([a-z]+)_(angry|disgust|fear|happy|neutral|ps|sad)")


def clip_id(path: Path) -> str | None:
    """`OAF_back_angry` for `OAF_back_angry.wav`; None for a file that is not a clip of TESS."""
    match = _NAME.fullmatch(path.stem)
    if match is None:
        return None
    speaker, word, emotion = match.groups()
    return f"{'OAF' if speaker == 'OA' else speaker}_{word}_{emotion}"


def read(root: Path, options: ReaderOptions) -> Manifest:
    """Every clip, by speaker, word and emotion."""
    clips, excluded = clips_by_id(root, clip_id, "TESS")
    utterances = []
    for key, path in clips.items():
        speaker, word, emotion = key.split("_")
        utterances.append(
            Utterance(
                id=key,
                audio=relative_path(path, root),
                text=f"Say the word {word}.",
                label=emotion,
                speaker=speaker,
                extra={"word": word, "sex": "female", "age": AGES[speaker]},
            )
        )
    return build_manifest("tess", "tess-1", root, utterances, excluded)


TESS = Corpus(
    name="tess",
    description="TESS: 2 Canadian actresses, 2800 acted clips of 200 words in one English sentence",
    page="https://doi.org/10.5683/SP2/E8H2MF",
    layout="OAF_angry/OAF_back_angry.wav ..., with or without folders",
    language="en",
    size=Size(utterances=2800, hours=1.6, speakers=2, emotions=7),
    licence=LICENCES["tess"],
    looks_like=lambda root: any(clip_id(path) for path in wav_files(root)),
    read=read,
    groups=tuple(AGES),
)
