"""Clips of MELD that contradict their row or their words."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from emofuse.datasets.reading.meld_cuts import cut_notes, row_seconds
from emofuse.datasets.registry import read_corpus
from emofuse.manifests.schema import Manifest, Utterance


def clip(id: str, seconds: float | None, row: float, text: str) -> Utterance:
    end = f"00:01:{row % 60:06.3f}" if row < 60 else f"00:{1 + int(row) // 60:02d}:{row % 60:06.3f}"
    extra = {"start_time": "00:01:00,000", "end_time": end.replace(".", ",")}
    return Utterance(id=id, audio=f"{id}.mp4", seconds=seconds, text=text, extra=extra)


def test_one_note_names_the_clips_that_contradict_their_row_or_their_words() -> None:
    clips = (
        clip("right", 2.0, 2.0, "That came out rather well"),
        clip("padded", 2.0, 0.4, "Hi."),
        clip("pause", 12.0, 12.0, "Oh no"),
        clip("unknown", None, 2.0, "Hello"),
        clip("minutes", 180.0, 180.0, "What was that?"),
        clip("longer", 3.6, 0.3, "Marta?"),
        clip("shorter", 0.3, 2.5, "I am not going down there"),
        clip("fast", 0.3, 0.3, "I am not going down there"),
    )
    assert row_seconds(clips[4]) == pytest.approx(180)
    (note,) = cut_notes(Manifest(corpus="meld", reader="meld-1", utterances=clips))
    assert note == (
        "4 clips probably cut wrongly: minutes (180.0 s, 3 words), longer (3.6 s, its row 0.3 s), shorter (0.3 s, its "
        "row 2.5 s), fast (0.3 s, 6 words); --max-seconds N excludes longer clips"
    )
    assert cut_notes(Manifest(corpus="meld", reader="meld-1", utterances=clips[:4])) == []


def test_few_of_the_real_clips_are_named(shared: Path) -> None:
    splits = {"train": "train", "val": "dev", "dev": "dev", "test": "test"}
    with (shared / "data/meld/utterances.csv").open(newline="") as file:
        rows = [(*row["id"].rsplit("-", 1), float(row["seconds"])) for row in csv.DictReader(file)]
    seconds = {f"{splits[split]}_{id}": length for id, split, length in rows}
    manifest = read_corpus("meld", shared / "data/meld")[0]
    scanned = tuple(replace(u, seconds=seconds.get(u.id)) for u in manifest.utterances)
    (note,) = cut_notes(replace(manifest, utterances=scanned))
    assert 50 < int(note.split()[0]) < 300
    assert note.count("(") == 10
