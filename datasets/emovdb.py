"""EmoV-DB: four English speakers, sentences of CMU ARCTIC in four emotions and neutral (Adigwe et al. 2018).

A file name is emotion, the range of its recording and the sentence: `amused_1-15_0001.wav`. It does not name the
speaker, whom the folder names: `bea_Amused` (the archives of OpenSLR 115) or `bea/Amused` (the sorted release). Names
vary in case and separator (`Disgust_169_196_0183.wav`); six sentences have two takes, of which one is read. Josh speaks
neither anger nor disgust; the clips of bea are at 44.1 kHz, all others at 16 kHz.

The texts are not in the release. Sentence 1 is a0001 of CMU ARCTIC, whose prompts are read from `cmuarctic.data`
(http://www.festvox.org/cmu_arctic/cmuarctic.data) if that file is in the root.
"""

from __future__ import annotations

import re
from pathlib import Path

from emofuse.datasets.base import Corpus, ReaderOptions, Size, build_manifest, clips_by_id, relative_path, wav_files
from emofuse.datasets.reading.tables import text_lines
from emofuse.manifests.licences import LICENCES
from emofuse.manifests.schema import Manifest, Utterance

SEXES = {"bea": "female", "jenie": "female", "josh": "male", "sam": "male"}
PROMPTS = "cmuarctic.data"
_NAME = re.compile(r"(amused|anger|disgust|neutral|sleepiness)_\d+[-_]\d+_(\d{4})", re.IGNORECASE)
_EMOTION = "amused|angry|disgusted|neutral|sleepy"
_FOLDER = re.compile(rf"({'|'.join(SEXES)})(?:[_/](?:{_EMOTION}))?", re.IGNORECASE)
_PROMPT = re.compile(r'\(\s*arctic_a(\d{4})\s+"(.*)"\s*\)')


def clip_id(path: Path) -> str | None:
    """`bea_amused_0001` for `bea_Amused/amused_1-15_0001.wav`; None for a file that is not a clip of EmoV-DB."""
    match = _NAME.fullmatch(path.stem)
    folder = path.parent
    found = _FOLDER.fullmatch(folder.name) or _FOLDER.fullmatch(f"{folder.parent.name}/{folder.name}")
    return f"{found[1].lower()}_{match[1].lower()}_{match[2]}" if match and found else None


def read(root: Path, options: ReaderOptions) -> Manifest:
    """Every clip, by speaker, emotion and sentence."""
    clips, excluded = clips_by_id(root, clip_id, "EmoV-DB in a folder of its speaker")
    prompts = _prompts(root / PROMPTS)
    utterances = []
    for key, path in clips.items():
        speaker, emotion, sentence = key.split("_")
        utterances.append(
            Utterance(
                id=key,
                audio=relative_path(path, root),
                text=prompts.get(sentence),
                label=emotion,
                speaker=speaker,
                extra={"sentence": int(sentence), "sex": SEXES[speaker]},
            )
        )
    return build_manifest("emovdb", "emovdb-1", root, utterances, excluded)


def _prompts(path: Path) -> dict[str, str]:
    """Sentence number -> text, of set A of CMU ARCTIC; empty where its file is not there."""
    if not path.is_file():
        return {}
    return {match[1]: match[2] for line in text_lines(path) if (match := _PROMPT.fullmatch(line.strip()))}


EMOVDB = Corpus(
    name="emovdb",
    description="EmoV-DB: 4 English speakers, 6887 acted clips of CMU ARCTIC sentences, made for speech synthesis",
    page="https://www.openslr.org/115/",
    layout="bea_Amused/amused_1-15_0001.wav ... or bea/Amused/amused_1-15_0001.wav ...: each archive in its own folder",
    language="en",
    size=Size(utterances=6887, hours=9.5, speakers=4, emotions=5),
    licence=LICENCES["emovdb"],
    looks_like=lambda root: any(clip_id(path) for path in wav_files(root)),
    read=read,
    groups=tuple(SEXES),
)
