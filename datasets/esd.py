"""ESD, its English half: ten speakers, 350 sentences, four emotions and neutral (Zhou et al. 2022).

A file name is speaker and number, `0011_000351.wav`: 350 numbers of each emotion in a fixed order, the same sentences
in each. The official split is by sentence: 1 to 20 evaluation, 21 to 50 test, the others train; the release has these
as folders below the emotion, circulating copies have none. The Mandarin speakers, 0001 to 0010, are excluded.

Texts come from `0011/0011.txt` (number, text, emotion). These files are in different encodings, and in some lines the
beginning of the text is lost: such a line gets the speaker's text of the same sentence in another emotion.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from emofuse.common.output.console import plural
from emofuse.datasets.base import Corpus, ReaderOptions, Size, build_manifest, clips_by_id, relative_path, wav_files
from emofuse.manifests.licences import LICENCES
from emofuse.manifests.schema import Excluded, Manifest, Utterance

SPEAKERS = tuple(f"{n:04d}" for n in range(11, 21))
MEN = ("0011", "0012", "0013", "0014", "0020")
EMOTIONS = ("Neutral", "Angry", "Happy", "Sad", "Surprise")
PER_EMOTION = 350
_NAME = re.compile(r"(00(?:0[1-9]|1\d|20))_00(\d{4})")


def clip_id(path: Path) -> str | None:
    """The name without suffix; None for a file that is not a clip of ESD."""
    match = _NAME.fullmatch(path.stem)
    return path.stem if match and 1 <= int(match[2]) <= PER_EMOTION * len(EMOTIONS) else None


def read(root: Path, options: ReaderOptions) -> Manifest:
    """Every clip of the English speakers, by speaker and number."""
    clips, excluded = clips_by_id(root, clip_id, "ESD")
    excluded += [Excluded(id=key, reason="Mandarin, not English") for key in clips if key[:4] not in SPEAKERS]
    english = {key: path for key, path in clips.items() if key[:4] in SPEAKERS}
    texts, notes = _texts(root, english)
    utterances = []
    for key, path in english.items():
        speaker, (emotion, sentence) = key[:4], divmod(int(key[5:]) - 1, PER_EMOTION)
        utterances.append(
            Utterance(
                id=key,
                audio=relative_path(path, root),
                text=texts.get(key),
                label=EMOTIONS[emotion],
                speaker=speaker,
                split="dev" if sentence < 20 else "test" if sentence < 50 else "train",
                extra={"sentence": sentence + 1, "sex": "male" if speaker in MEN else "female"},
            )
        )
    return build_manifest("esd", "esd-1", root, utterances, excluded, notes=notes)


def _texts(root: Path, clips: Mapping[str, Path]) -> tuple[dict[str, str], list[str]]:
    """The texts by clip, and what is wrong with the files that they are read from."""
    texts: dict[str, str] = {}
    notes, without = [], []
    for speaker in sorted({key[:4] for key in clips}):
        path = next(path for key, path in clips.items() if key.startswith(speaker))
        folders = (folder for folder in path.parents if folder.is_relative_to(root))
        file = next((f for folder in folders if (f := folder / f"{speaker}.txt").is_file()), None)
        if file is None:
            without.append(f"{speaker}.txt")
            continue
        own, damaged = _read_texts(file)
        texts |= own | {key: text for key in damaged if (text := _same_sentence(key, own))}
        if damaged:
            count = plural(len(damaged), "damaged line")
            notes.append(
                f"{count} of {relative_path(file, root)} ({damaged[0]}, ...): same sentence, other emotion used"
            )
    if without:
        notes.append(f"no {', '.join(without)} in the speakers' folders: their clips have no texts")
    return texts, notes


def _read_texts(file: Path) -> tuple[dict[str, str], list[str]]:
    """The texts by clip, and the clips whose lines have not three cells."""
    texts, damaged = {}, []
    for line in _lines(file):
        cells = [cell.strip() for cell in line.split("\t")]
        name = _NAME.match(cells[0])
        if name and len(cells) == 3 and cells[0] == name[0]:
            texts[cells[0]] = cells[1]
        elif name:
            damaged.append(name[0])
    return texts, damaged


def _same_sentence(key: str, texts: Mapping[str, str]) -> str | None:
    """The speaker's most frequent text of a clip's sentence in the other emotions."""
    sentence = (int(key[5:]) - 1) % PER_EMOTION + 1
    others = (f"{key[:5]}{sentence + PER_EMOTION * n:06d}" for n in range(len(EMOTIONS)))
    counts = Counter(texts[other] for other in others if other in texts)
    return counts.most_common(1)[0][0] if counts else None


def _lines(file: Path) -> list[str]:
    """The lines of a file in UTF-16, UTF-8, GB 2312 or Windows-1252: all of them occur in the release."""
    data = file.read_bytes()
    utf_16 = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-16-le" if data[1:2] == b"\0" else None
    for encoding in (utf_16,) if utf_16 else ("utf-8-sig", "gb2312"):
        try:
            return data.decode(encoding).splitlines()
        except UnicodeDecodeError:
            continue
    return data.decode("cp1252", errors="replace").splitlines()


ESD = Corpus(
    name="esd",
    description="ESD: 10 English speakers, 17500 clips of 350 sentences in five emotions, texts, official split",
    page="https://hltsingapore.github.io/ESD/",
    layout="0011/0011.txt and 0011/Angry/0011_000351.wav ..., or 0011/Angry/evaluation/0011_000351.wav ...",
    language="en",
    size=Size(utterances=17500, hours=13.4, speakers=10, emotions=5),
    licence=LICENCES["esd"],
    looks_like=lambda root: any(clip_id(path) for path in wav_files(root)),
    read=read,
    groups=SPEAKERS,
)
