"""AESDD: Greek actors, nineteen sentences and one improvised utterance, five emotions (Vryzas et al. 2018).

Clips lie in a folder per emotion; a file name is the emotion's first letter, the utterance and the actor:
`anger/a03 (5).wav`. A letter after it marks a further take (`f18 (5)b.wav`), and five names write actor 1 as `(01)`.
The release has six actors and no transcripts; `sadness/s05 (3).wav` has no audio data in any copy of it.
"""

from __future__ import annotations

import re
from pathlib import Path

from emofuse.datasets.base import Corpus, ReaderOptions, Size, build_manifest, clips_by_id, relative_path, wav_files
from emofuse.manifests.schema import Excluded, Manifest, Utterance

EMOTIONS = {"a": "anger", "d": "disgust", "f": "fear", "h": "happiness", "s": "sadness"}
DAMAGED = {"s05-3": "the release's file has no audio data"}
_NAME = re.compile(r"([adfhs])(\d\d) ?\(0*([1-9]\d*)\)([a-z]?)")
_ID = re.compile(r"([adfhs])(\d\d)-(\d+)([a-z]?)")


def clip_id(path: Path) -> str | None:
    """`a03-5` for `anger/a03 (5).wav`; None for a file that is not a clip of AESDD."""
    match = _NAME.fullmatch(path.stem)
    if match is None or path.parent.name.lower() != EMOTIONS[match[1]]:
        return None
    return f"{match[1]}{match[2]}-{match[3]}{match[4]}"


def read(root: Path, options: ReaderOptions) -> Manifest:
    """Every clip with audio, by emotion, utterance and actor."""
    clips, excluded = clips_by_id(root, clip_id, "AESDD")
    utterances = []
    for key, path in clips.items():
        if key in DAMAGED:
            excluded.append(Excluded(id=key, reason=DAMAGED[key]))
            continue
        match = _ID.fullmatch(key)
        assert match is not None
        letter, utterance, actor, take = match.groups()
        utterances.append(
            Utterance(
                id=key,
                audio=relative_path(path, root),
                label=EMOTIONS[letter],
                speaker=actor,
                extra={"utterance": int(utterance), **({"take": take} if take else {})},
            )
        )
    return build_manifest("aesdd", "aesdd-1", root, utterances, excluded)


AESDD = Corpus(
    name="aesdd",
    description="AESDD: 6 Greek actors, 604 acted clips of twenty utterances",
    page="http://m3c.web.auth.gr/research/aesdd-speech-emotion-recognition/",
    layout="anger/a03 (5).wav ..., disgust/, fear/, happiness/, sadness/",
    language="el",
    size=Size(utterances=604, hours=0.7, speakers=6, emotions=5),
    looks_like=lambda root: any(clip_id(path) for path in wav_files(root)),
    read=read,
    groups=("1", "2", "3", "4", "5", "6"),
)
