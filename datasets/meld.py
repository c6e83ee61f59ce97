"""MELD: scenes of the series "Friends", one video clip per utterance, official split (Poria et al. 2019).

The three `*_sent_emo.csv` files lie in the root or in the folder of their split, and so do the clip folders
`train_splits`, `dev_splits_complete` and `output_repeated_splits_test`. A clip is an mp4, or a wav of the same name
where someone has extracted the audio already. A root that has the CSV files alone is a text-only corpus.

Dialogue and utterance numbers start again in each split, so ids carry it: `train_dia0_utt0`.
"""

from __future__ import annotations

from pathlib import Path

from emofuse.common.errors import UsageError, complain
from emofuse.datasets.base import Corpus, ReaderOptions, csv_rows, settled
from emofuse.manifests.schema import Manifest, Utterance

SPLITS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
COLUMNS = (
    "Utterance",
    "Speaker",
    "Emotion",
    "Sentiment",
    "Dialogue_ID",
    "Utterance_ID",
    "Season",
    "Episode",
    "StartTime",
    "EndTime",
)
KNOWN_GAPS = {"dev_dia110_utt7": "the release has no clip of this utterance"}
CLIPS = ("plain", "recut")
RECUT = "final_videos_test"


def annotation(root: Path, split: str) -> Path | None:
    """The CSV file of a split, in the root, in the split's folder, or in `MELD.Raw`."""
    return _first(root, split, f"{split}_sent_emo.csv")


def _first(root: Path, split: str, name: str) -> Path | None:
    places = [base / depth for base in (root, root / "MELD.Raw") for depth in ("", split)]
    return next((p / name for p in places if (p / name).exists()), None)


def read(root: Path, options: ReaderOptions) -> Manifest:
    """Every row of the three CSV files, in their order: train, dev, test."""
    clips = options.meld_clips or "plain"
    if clips not in CLIPS:
        raise UsageError(f"--meld-clips is {clips!r}; valid: {', '.join(CLIPS)}")
    tables = {split: annotation(root, split) for split in SPLITS}
    missing = [f"{split}_sent_emo.csv" for split, path in tables.items() if path is None]
    if missing:
        raise UsageError(f"{root} lacks {', '.join(missing)} of MELD, in the root or in the folder of its split")
    folders = {split: _first(root, split, name) for split, name in SPLITS.items()}
    spoken = any(folders.values())
    utterances: list[Utterance] = []
    problems: list[str] = []
    recut = 0
    for split, table in tables.items():
        folder = folders[split] or root / SPLITS[split]
        names = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
        for number, row in csv_rows(table or root, COLUMNS):
            if not (row["Dialogue_ID"].isdecimal() and row["Utterance_ID"].isdecimal()):
                problems.append(f"{table}, row {number}: Dialogue_ID and Utterance_ID must be numbers")
                continue
            clip = _clip(
                f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}", names, clips == "recut" and split == "test"
            )
            recut += clip.startswith(RECUT)
            utterances.append(_utterance(split, row, (folder / clip).relative_to(root).as_posix() if spoken else None))
    complain(problems, "the annotation of MELD is damaged")
    if clips == "recut" and not recut:
        raise UsageError(f"--meld-clips recut has no effect: {root} holds no {RECUT}* clip of the test split")
    return settled("meld", "meld-1" if clips == "plain" else "meld-1-recut", root, utterances, reasons=KNOWN_GAPS)


def _clip(stem: str, names: set[str], recut: bool) -> str:
    """The file that an utterance is taken from; where there is none, the one that should be there."""
    stems = (RECUT + stem, stem) if recut else (stem,)
    return next((s + kind for s in stems for kind in (".mp4", ".wav") if s + kind in names), stem + ".mp4")


def _utterance(split: str, row: dict[str, str], audio: str | None) -> Utterance:
    return Utterance(
        id=f"{split}_dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}",
        audio=audio,
        text=row["Utterance"].strip(),
        label=row["Emotion"],
        speaker=row["Speaker"],
        dialogue=f"{split}_dia{row['Dialogue_ID']}",
        turn=int(row["Utterance_ID"]),
        split=split,
        extra={
            "sentiment": row["Sentiment"],
            "season": row["Season"],
            "episode": row["Episode"],
            "start_time": row["StartTime"],
            "end_time": row["EndTime"],
        },
    )


MELD = Corpus(
    name="meld",
    description="MELD: TV series scenes, English, video clips and transcripts, official split",
    page="https://affective-meld.github.io",
    layout="train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv, in the root or in train/, dev/, test/",
    looks_like=lambda root: any(annotation(root, split) for split in SPLITS),
    read=read,
    options=("meld_clips",),
)
