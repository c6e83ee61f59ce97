"""CMU-MOSEI: single speakers' opinions in web videos, with sentiment scores and the official split (Zadeh et al. 2018).

Two forms circulate, both read here:

- MMSA's `label.csv` (Mao et al. 2022: video_id, clip_id, text, label, annotation, mode) with a clip per row,
  `Raw/VIDEO/CLIP.mp4` or wav. The score from -3 to 3 is `sentiment`.
- S3PRL's `CMU_MOSEI_Labels.csv` (file, index, start, end, label2b, label7, split) with the authors' raw archive: whole
  videos in `Raw/Audio/Full/WAV_16000`, texts in `Raw/Transcript/Segmented/Combined/VIDEO.txt`. The score in seven steps
  is `sentiment7`. Some videos are in no official fold and are excluded.

A root with a table alone is a text-only corpus (in the second form the texts too must be there). The label is the
score's sign: Negative, Neutral, Positive. The dialogue is the video: the release names no speakers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from emofuse.common.errors import UsageError, raise_problems
from emofuse.datasets.base import Corpus, ReaderOptions, Size, build_manifest
from emofuse.datasets.reading.tables import read_table, text_lines
from emofuse.manifests.licences import LICENCES
from emofuse.manifests.schema import Excluded, Manifest, Utterance

CLIPS_TABLE, VIDEOS_TABLE = "label.csv", "CMU_MOSEI_Labels.csv"
CLIPS_COLUMNS = ("video_id", "clip_id", "text", "label", "annotation", "mode")
VIDEOS_COLUMNS = ("file", "index", "start", "end", "label2b", "label7", "split")
SPLITS = {"train": "train", "valid": "dev", "test": "test"}
FOLDS = {"0": "train", "1": "dev", "2": "test"}
SIGNS = {"-1": "Negative", "0": "Neutral", "1": "Positive"}
LARGEST = 3.0
_SIMS = re.compile(r"(video|aqgy\d*)_\d+")
_SEGMENT = re.compile(r".*?_{3,}\d+_{3,}(-?\d+(?:\.\d+)?)_{3,}(-?\d+(?:\.\d+)?)_{3,}(.*)")
_Times = tuple[str, float, float]


def read(root: Path, options: ReaderOptions) -> Manifest:
    """Every row of the table, in its order.

    Raises:
        UsageError: The table is wrong (lists every mistake), or is that of another corpus in this layout.
    """
    return _read_clips(root) if (root / CLIPS_TABLE).is_file() else _read_videos(root)


def _read_clips(root: Path) -> Manifest:
    table = read_table(root / CLIPS_TABLE, CLIPS_COLUMNS)
    if table.rows and all(_SIMS.fullmatch(row["video_id"].strip()) for _, row in table.rows):
        raise UsageError(f"{table.path} is the table of CH-SIMS, which is Chinese: name its clips in --dataset custom")
    utterances, problems = [], []
    has_audio = (root / "Raw").is_dir()
    for number, row in table.rows:
        mistakes = _clip_mistakes(row)
        problems += [f"row {number}: {mistake}" for mistake in mistakes]
        if not mistakes:
            video, clip = row["video_id"].strip(), row["clip_id"].strip()
            stem = f"Raw/{video}/{clip}"
            audio = f"{stem}.wav" if (root / f"{stem}.wav").is_file() else f"{stem}.mp4"
            utterances.append(
                Utterance(
                    id=f"{video}_{clip}",
                    audio=audio if has_audio else None,
                    text=row["text"].strip(),
                    label=row["annotation"].strip(),
                    dialogue=video,
                    split=SPLITS[row["mode"].strip()],
                    extra={"sentiment": float(row["label"])},
                )
            )
    raise_problems(problems, f"{table.path} cannot be used")
    return build_manifest("cmu-mosei", "cmu-mosei-1", root, utterances, notes=table.notes)


def _clip_mistakes(row: Mapping[str, str]) -> list[str]:
    mistakes = [f"{column} is empty" for column in ("video_id", "clip_id") if not row[column].strip()]
    if row["mode"].strip() not in SPLITS:
        mistakes.append(f"mode is {row['mode']!r}; valid: {', '.join(SPLITS)}")
    if row["annotation"].strip() not in SIGNS.values():
        mistakes.append(f"annotation is {row['annotation']!r}; valid: {', '.join(SIGNS.values())}")
    if not _within(row["label"]):
        mistakes.append(f"label is {row['label']!r}, expected a number from -3 to 3")
    return mistakes


def _within(score: str) -> bool:
    try:
        return abs(float(score)) <= LARGEST
    except ValueError:
        return False


def _read_videos(root: Path) -> Manifest:
    table = read_table(root / VIDEOS_TABLE, VIDEOS_COLUMNS)
    raw = "Raw/" if (root / "Raw").is_dir() else ""
    folder = f"{raw}Audio/Full/WAV_16000"
    has_audio = (root / folder).is_dir()
    texts = _texts(root / f"{raw}Transcript/Segmented/Combined")
    utterances, excluded, problems = [], [], []
    for number, row in table.rows:
        video, split, sign = row["file"].strip(), FOLDS.get(row["split"].strip()), SIGNS.get(row["label2b"].strip())
        key = f"{video}_{row['index'].strip()}"
        if split is None:
            excluded.append(Excluded(id=key, reason="its video is in no official fold"))
            continue
        try:
            start, end = float(row["start"]), float(row["end"])
        except ValueError:
            sign = None
        text = texts.get(_times(video, start, end)) if sign else None
        if sign is None:
            problems.append(f"row {number}: start, end and label2b (-1, 0 or 1) must be numbers")
            continue
        if not has_audio and text is None:
            excluded.append(Excluded(id=key, reason="neither its video's sound nor its text is in the folder"))
            continue
        utterances.append(
            Utterance(
                id=key,
                audio=f"{folder}/{video}.wav" if has_audio else None,
                start=max(0.0, start) if has_audio else None,  # some first segments start below zero
                end=end if has_audio else None,
                text=text,
                label=sign,
                dialogue=video,
                split=split,
                extra={"sentiment7": row["label7"].strip()},
            )
        )
    raise_problems(problems, f"{table.path} cannot be used")
    return build_manifest("cmu-mosei", "cmu-mosei-1-videos", root, utterances, excluded, notes=table.notes)


def _texts(folder: Path) -> dict[_Times, str]:
    """(video, start, end) -> text, from lines `VIDEO___CLIP___START___END___TEXT`; clip numbers are not the table's."""
    texts = {}
    for path in sorted(folder.glob("*.txt")):
        for line in text_lines(path):
            match = _SEGMENT.fullmatch(line)
            if match:
                texts[_times(path.stem, float(match[1]), float(match[2]))] = match[3].strip()
    return texts


def _times(video: str, start: float, end: float) -> _Times:
    return video, round(start, 2), round(end, 2)


CMU_MOSEI = Corpus(
    name="cmu-mosei",
    description="CMU-MOSEI: opinions in web videos, English, sentiment, official split",
    page="http://multicomp.cs.cmu.edu/resources/cmu-mosei-dataset/",
    layout=f"{CLIPS_TABLE} and Raw/VIDEO/CLIP.mp4, or {VIDEOS_TABLE} and Raw/Audio/Full/WAV_16000/VIDEO.wav",
    language="en",
    size=Size(utterances=23453, hours=65.9, speakers=1000, emotions=6),
    licence=LICENCES["cmu-mosei"],
    looks_like=lambda root: any((root / name).is_file() for name in (CLIPS_TABLE, VIDEOS_TABLE)),
    read=read,
)
