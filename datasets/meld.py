"""MELD: scenes of the series "Friends", one video clip per utterance, official split (Poria et al. 2019).

The three `*_sent_emo.csv` files lie in the root or in the folder of their split, and so do the clip folders
`train_splits`, `dev_splits_complete` and `output_repeated_splits_test`. A clip is an mp4, or a wav of the same name
where the audio was already extracted. A root with only the CSV files is a text-only corpus.

Dialogue and utterance numbers restart in each split, so ids start with it: `train_dia0_utt0`.
"""

from __future__ import annotations

from pathlib import Path

from emofuse.common.errors import UsageError, raise_problems
from emofuse.datasets.base import Corpus, ReaderOptions, Size, build_manifest, relative_path
from emofuse.datasets.reading.meld_cuts import cut_notes
from emofuse.datasets.reading.tables import read_table, repaired_notes
from emofuse.manifests.licences import LICENCES
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
"""The prefix of second cuts."""


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
        raise UsageError(
            f"{root} has no {', '.join(missing)} of MELD, in the root or in the folder of its split; unpack the whole "
            "release, MELD.Raw.tar.gz"
        )
    folders = {split: _first(root, split, name) for split, name in SPLITS.items()}
    has_audio = any(folders.values())
    utterances: list[Utterance] = []
    problems: list[str] = []
    notes: list[str] = []
    repaired, recut = 0, False
    for split, path in tables.items():
        table = read_table(path or root, COLUMNS)
        repaired += table.repaired
        notes += table.delimiter_notes
        folder = folders[split] or root / SPLITS[split]
        names = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
        for number, row in table.rows:
            if not (row["Dialogue_ID"].isdecimal() and row["Utterance_ID"].isdecimal()):
                problems.append(f"{path}, row {number}: Dialogue_ID and Utterance_ID must be numbers")
                continue
            stem = f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"
            clip = _clip(stem, names, recut=clips == "recut" and split == "test")
            recut = recut or clip.startswith(RECUT)
            utterances.append(_utterance(split, row, relative_path(folder / clip, root) if has_audio else None))
    raise_problems(problems, "the annotation of MELD is damaged")
    if clips == "recut" and not recut:
        raise UsageError(f"--meld-clips recut has no effect: {root} has no {RECUT}* clip of the test split")
    reader = "meld-1" if clips == "plain" else "meld-1-recut"
    notes += repaired_notes("MELD's texts", repaired)
    return build_manifest("meld", reader, root, utterances, reasons=KNOWN_GAPS, notes=notes)


def _clip(stem: str, names: set[str], recut: bool) -> str:
    """The file of an utterance; where none exists, the name that it should have."""
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
    language="en",
    size=Size(utterances=13708, hours=12.1, speakers=304, emotions=7),
    licence=LICENCES["meld"],
    looks_like=lambda root: any(annotation(root, split) for split in SPLITS),
    read=read,
    scan_notes=cut_notes,
    options=("meld_clips",),
)
