"""MSP-Podcast: turns of English podcasts, in releases 1.6 to 2.0 (Lotfian and Busso 2019).

Consensus labels, scores, speakers and partitions come from `Labels/labels_consensus.csv` (older releases:
`labels_concensus.csv`), the raters' votes from `Labels/labels.txt` or `labels_detailed.csv`, texts from `Transcripts`
(a folder or zip of one txt per turn), audio from `Audios`. The partitions Train, Development (older: Validation) and
Test1 are the official split; Test2 is a test set too: a protocol chooses between them by `partition`. Test3 is released
without labels and is excluded.

Turns without an agreed label (X) stay, since their votes and scores are known. A speaker that the release does not
know (`Unknown`) is no speaker here. The dialogue is the podcast, the second number of a file name
`MSP-PODCAST_0001_0008.wav`. Scores are means on scales from 1 to 7.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from emofuse.common.errors import UsageError, raise_problems
from emofuse.common.output.console import plural
from emofuse.datasets.base import Corpus, ReaderOptions, Size, build_manifest
from emofuse.datasets.reading.msp_ratings import rated_clips, vote
from emofuse.datasets.reading.tables import read_table, text_lines
from emofuse.manifests.licences import LICENCES
from emofuse.manifests.schema import Excluded, Manifest, Utterance
from emofuse.manifests.votes import VOTES, votes_text

SPLITS = {"Train": "train", "Development": "dev", "Validation": "dev", "Test1": "test", "Test2": "test"}
UNLABELLED = "Test3"
COLUMNS = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "Split_Set")
SCORES = {"EmoAct": "arousal", "EmoVal": "valence", "EmoDom": "dominance"}
_NAME = re.compile(r"MSP-PODCAST_(\w+?)_\w+")
_UNKNOWN = ("", "unknown", "-1", "nan")


def consensus(root: Path) -> Path | None:
    """The table of consensus labels, in the root or in its folder of labels."""
    names = (f"labels_con{c}ensus.csv" for c in "sc")
    return next((p for name in names for at in ("Labels", "label", "") if (p := root / at / name).is_file()), None)


def read(root: Path, options: ReaderOptions) -> Manifest:
    """Every turn of the table, in its order; turns of Test3 are excluded.

    Raises:
        UsageError: A table is missing or wrong; lists every mistake.
    """
    path = consensus(root)
    if path is None:
        raise UsageError(f"{root} has no Labels/labels_consensus.csv of MSP-Podcast")
    table = read_table(path, COLUMNS)
    folder = next((name for name in ("Audios", "Audio") if (root / name).is_dir()), "Audios")
    votes, texts = _votes(path.parent), _texts(root)
    utterances, excluded, problems = [], [], []
    for number, row in table.rows:
        key, partition = Path(row["FileName"].strip()).stem, row["Split_Set"].strip()
        if partition == UNLABELLED:
            excluded.append(_without_label(key))
        elif partition not in SPLITS:
            problems.append(f"row {number}: Split_Set is {partition!r}; valid: {', '.join((*SPLITS, UNLABELLED))}")
        else:
            utterances.append(_utterance(row, key, f"{folder}/{key}.wav", texts.get(key), votes.get(key)))
    raise_problems(problems, f"{path} cannot be used")
    listed = {e.id for e in excluded}
    excluded += [_without_label(key) for key in _unlabelled(root) if key not in listed]
    notes = [*table.notes, *_speaker_notes(utterances)]
    return build_manifest("msp-podcast", "msp-podcast-1", root, utterances, excluded, notes=notes)


def _without_label(key: str) -> Excluded:
    return Excluded(id=key, reason=f"no label: {UNLABELLED} is released without labels")


def _utterance(row: Mapping[str, str], key: str, audio: str, text: str | None, votes: list[str] | None) -> Utterance:
    speaker, gender = (row.get(column, "").strip() for column in ("SpkrID", "Gender"))
    podcast = _NAME.fullmatch(key)
    return Utterance(
        id=key,
        audio=audio,
        text=text or None,
        label=row["EmoClass"].strip(),
        speaker=None if speaker.casefold() in _UNKNOWN else speaker,
        dialogue=podcast[1] if podcast else None,
        split=SPLITS[row["Split_Set"].strip()],
        extra={
            "partition": row["Split_Set"].strip().replace("Validation", "Development"),
            **{name: float(row[column]) for column, name in SCORES.items() if row[column].strip()},
            **({} if gender.casefold() in _UNKNOWN else {"gender": gender.lower()}),
            **({VOTES: votes_text(votes)} if votes else {}),
        },
    )


def _votes(labels: Path) -> dict[str, list[str]]:
    """Turn -> the letter that each rater chose first; empty where the release has no ratings."""
    ratings, detailed = labels / "labels.txt", labels / "labels_detailed.csv"
    if ratings.is_file():
        return {clip.name: clip.votes for clip in rated_clips(ratings)}
    votes: dict[str, list[str]] = {}
    if detailed.is_file():
        for _, row in read_table(detailed, ("FileName",)).rows:
            votes.setdefault(Path(row.pop("FileName")).stem, []).append(vote(_first_label(row)))
    return votes


def _first_label(row: Mapping[str, str]) -> str:
    """A rater's label: a column of its own, or the second entry of `WORKER; Neutral; Neutral,Concerned; A:4; ...`."""
    if "EmoClass_Major" in row:
        return row["EmoClass_Major"]
    entries = next((cell.split(";") for cell in row.values() if ";" in cell), ["", ""])
    return entries[1]


def _texts(root: Path) -> dict[str, str]:
    """Turn -> transcript, from the folder or the zip; empty without either."""
    folder, archive = root / "Transcripts", root / "Transcripts.zip"
    if folder.is_dir():
        files = (p for p in sorted(folder.rglob("*.txt")) if not p.name.startswith("._"))
        return {p.stem: _one_line(" ".join(text_lines(p))) for p in files}
    return dict(_zipped(archive)) if archive.is_file() else {}


def _zipped(archive: Path) -> Iterator[tuple[str, str]]:
    try:
        with zipfile.ZipFile(archive) as opened:
            for name in opened.namelist():
                member = Path(name)
                if member.suffix == ".txt" and not member.name.startswith("._"):
                    yield member.stem, _one_line(opened.read(name).decode("utf-8", errors="replace"))
    except zipfile.BadZipFile as error:
        raise UsageError(
            f"{archive} cannot be read ({error}): copy it again, or unpack it into {archive.stem}"
        ) from None


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _unlabelled(root: Path) -> list[str]:
    """The turns of Test3 that the list of partitions names (`Test3; MSP-PODCAST_....wav`)."""
    path = next((p for name in ("Partitions.txt", "partitions.txt") if (p := root / name).is_file()), None)
    entries = (line.split(";") for line in (text_lines(path) if path else ()) if ";" in line)
    return [Path(entry[1].strip()).stem for entry in entries if entry[0].strip() == UNLABELLED]


def _speaker_notes(utterances: list[Utterance]) -> list[str]:
    """How many turns have an unknown speaker, and which known speakers are in several partitions."""
    notes = []
    unknown = sum(u.speaker is None for u in utterances)
    if unknown:
        notes.append(
            f"{plural(unknown, 'turn')} of unknown speakers: nobody can check that they speak in one split only"
        )
    splits: dict[str, set[str | None]] = {}
    for u in utterances:
        if u.speaker is not None:
            splits.setdefault(u.speaker, set()).add(u.split)
    shared = sorted(speaker for speaker, found in splits.items() if len(found) > 1)
    if shared:
        notes.append(f"{plural(len(shared), 'speaker')} in more than one split, such as {', '.join(shared[:3])}")
    return notes


MSP_PODCAST = Corpus(
    name="msp-podcast",
    description="MSP-Podcast: podcasts, English, several raters per turn, official partitions",
    page="https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Podcast.html",
    layout="Labels/labels_consensus.csv, Audios/MSP-PODCAST_0001_0008.wav ..., Transcripts",
    language="en",
    size=Size(utterances=267905, hours=409, emotions=8),  # release 2.0
    licence=LICENCES["msp-podcast"],
    looks_like=lambda root: consensus(root) is not None,
    read=read,
)
