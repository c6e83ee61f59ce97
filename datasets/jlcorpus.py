"""JL-Corpus: four New Zealand speakers, five primary and five secondary emotions (James, Tian and Watson 2018).

A file name is speaker, emotion, sentence and take: `male1_angry_1a_1.wav`; its text is in `male1_angry_1a_1.txt`. The
release also holds copies of some clips in a folder with a name in small letters.
"""

from __future__ import annotations

import re
from pathlib import Path

from emofuse.common.output.console import plural
from emofuse.datasets.base import Corpus, ReaderOptions, Size, build_manifest, clips_by_id, relative_path, wav_files
from emofuse.datasets.reading.tables import text_lines
from emofuse.manifests.licences import LICENCES
from emofuse.manifests.schema import Manifest, Utterance

SPEAKERS = ("female1", "female2", "male1", "male2")
PRIMARY = ("angry", "excited", "happy", "neutral", "sad")
SECONDARY = ("anxious", "apologetic", "assertive", "concerned", "encouraging")
_NAME = re.compile(rf"({'|'.join(SPEAKERS)})_({'|'.join(PRIMARY + SECONDARY)})_(\d+[ab])_([12])")


def clip_id(path: Path) -> str | None:
    """The name without suffix; None for a file that is not a clip of JL-Corpus."""
    return path.stem if _NAME.fullmatch(path.stem) else None


def read(root: Path, options: ReaderOptions) -> Manifest:
    """Every clip with its text, by speaker, emotion and sentence."""
    clips, excluded = clips_by_id(root, clip_id, "JL-Corpus")
    utterances = []
    for key, path in clips.items():
        speaker, emotion, sentence, take = key.split("_")
        utterances.append(
            Utterance(
                id=key,
                audio=relative_path(path, root),
                text=_text(path.with_suffix(".txt")),
                label=emotion,
                speaker=speaker,
                extra={"sentence": sentence, "take": int(take), "sex": speaker[:-1]},
            )
        )
    without = [u.id for u in utterances if u.text is None]
    notes = [f"{plural(len(without), 'clip')} without a .txt beside it, such as {without[0]}"] if without else []
    return build_manifest("jlcorpus", "jlcorpus-1", root, utterances, excluded, notes=notes)


def _text(path: Path) -> str | None:
    return " ".join(" ".join(text_lines(path)).split()) or None if path.is_file() else None


JLCORPUS = Corpus(
    name="jlcorpus",
    description="JL-Corpus: 4 New Zealand speakers, 2400 acted clips, primary and secondary emotions, texts",
    page="https://www.kaggle.com/datasets/tli725/jl-corpus",
    layout="Raw JL corpus .../JL(wav+txt)/male1_angry_1a_1.wav and .txt ..., or that folder alone",
    language="en",
    size=Size(utterances=2400, hours=1.4, speakers=4, emotions=10),
    licence=LICENCES["jlcorpus"],
    looks_like=lambda root: any(clip_id(path) for path in wav_files(root)),
    read=read,
    groups=SPEAKERS,
)
