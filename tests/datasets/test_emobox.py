"""Sets of EmoBox: lines, label maps, speakers in keys, and the mistakes of a clone."""

from __future__ import annotations

import json
from pathlib import Path

import emobox_samples as emobox
import pytest

from emofuse.common.errors import UsageError
from emofuse.datasets.base import ReaderOptions
from emofuse.datasets.emobox import SETS
from emofuse.datasets.registry import corpus_name, read_corpus
from emofuse.extract.plan.config import ExtractConfig
from emofuse.manifests.schema import Manifest, Utterance

LINES = [
    emobox.row("cafe", "12-P-2-5", "CaFE_48k/Peur/Fort/12-P-2-5.wav", "p"),
    emobox.row("cafe", "06-J-2-5", "CaFE_48k/Joie/Fort/06-J-2-5.wav", "J"),
]
MAP = {"p": "Fear", "j": "Happy"}


def read(clone: Path, name: str, rows: list[emobox.Row], labels: dict[str, str] | None = None) -> Manifest:
    for row in rows:
        path = clone / str(row["wav"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    folder = emobox.write_set(clone, name, rows, {}, labels or {str(r["emo"]): str(r["emo"]) for r in rows})
    manifest, root = read_corpus("emobox", options=ReaderOptions(manifest=folder))
    assert root == clone.resolve()
    return manifest


def test_fields_of_an_utterance(tmp_path: Path) -> None:
    manifest = read(tmp_path, "cafe", LINES, MAP)
    assert (manifest.corpus, manifest.reader) == ("emobox-cafe", "emobox-cafe-1")
    assert manifest.utterances[0] == Utterance(
        id="cafe-12-P-2-5",
        audio="downloads/cafe/CaFE_48k/Peur/Fort/12-P-2-5.wav",
        label="Fear",
        speaker="12",
        extra={"emo": "p", "language": "fr"},
    )
    assert manifest.utterances[1].label == "Happy"  # the map may have another case


def test_clips_inside_longer_files(tmp_path: Path) -> None:
    line = emobox.row("pavoque", "poker_n0010-poker", "pavoque-poker.flac", "poker", start_time=4.46, end_time=7.5)
    (clip,) = read(tmp_path, "pavoque", [line]).utterances
    assert (clip.start, clip.end, clip.speaker) == (4.46, 7.5, "pavoque")


@pytest.mark.parametrize(
    ("name", "id", "speaker"),
    [
        ("aesdd", "a03-3", "3"),
        ("ased", "a5-02-01-01-33", "33"),
        ("asvpesd", "03-01-09-01-06-36-02-02-01-39", "36"),
        ("casia", "239-wangzhe-neutral", "wangzhe"),
        ("cremad", "1087-IWL-ANG-XX", "1087"),
        ("emodb", "03a01Wa", "03"),
        ("emovo", "gio-f2-b2", "f2"),
        ("enterface", "s19_an_4.avi", "s19"),
        ("esd", "0005-000001", "0005"),
        ("iemocap", "Ses01F_impro04_M000", "Ses01M"),
        ("meld", "dia0_utt0-train", None),
        ("polish", "m3.s_trzymaj_5", "m3"),
        ("ravdess", "03-01-05-01-02-01-18", "18"),
        ("shemo", "M36S02", "M36"),
        ("subesco", "F_10_FAHMEE_S_6_FEAR_5", "F_10"),
        ("turevdb", "1984_sk_eger.wav", "sk"),
        ("urdu", "SM20_F8_N012", "SM20"),
        ("unheard-of", "1-2", None),
    ],
)
def test_speakers_are_read_from_keys(name: str, id: str, speaker: str | None, tmp_path: Path) -> None:
    (clip,) = read(tmp_path, name, [emobox.row(name, id, "a.wav", "x")]).utterances
    assert (clip.speaker, clip.session) == (speaker, "1" if name == "iemocap" else None)


def test_32_sets_are_known() -> None:
    assert len(SETS) == 32
    assert len({language for language, _ in SETS.values() if language}) == 14


def test_unmapped_labels_and_missing_clips_are_listed(tmp_path: Path) -> None:
    folder = emobox.write_set(tmp_path, "cafe", [*LINES, emobox.row("cafe", "x-1", "x.wav", "?")], {}, MAP)
    clip = tmp_path / str(LINES[0]["wav"])
    clip.parent.mkdir(parents=True)
    clip.touch()
    manifest, _ = read_corpus("emobox", tmp_path)  # the only set
    assert manifest.ids == ["cafe-12-P-2-5"]
    assert {e.id: e.reason for e in manifest.excluded}["cafe-x-1"] == "label ? is not mapped"
    assert "no audio file downloads/cafe/CaFE_48k/Joie" in {e.id: e.reason for e in manifest.excluded}["cafe-06-J-2-5"]
    emobox.write_set(tmp_path, "tess", LINES, {}, MAP)
    with pytest.raises(UsageError, match="has the sets cafe, tess: name one, --manifest"):
        read_corpus("emobox", tmp_path)
    (folder / "label_map.json").write_text("[]")
    with pytest.raises(UsageError, match=r"label_map\.json is not a JSON object of labels"):
        read_corpus("emobox", options=ReaderOptions(manifest=folder))
    (folder / "label_map.json").write_text(json.dumps(MAP))
    (folder / "cafe.jsonl").write_text('{"key": "a"}\nno JSON\n')
    with pytest.raises(UsageError, match=r"(?s)row 1: KeyError.*row 2: JSONDecodeError"):
        read_corpus("emobox", options=ReaderOptions(manifest=folder / "cafe.jsonl"))


def test_each_set_has_a_store_of_its_own(tmp_path: Path) -> None:
    folder = emobox.write_set(tmp_path, "cafe", LINES, {}, MAP)
    config = ExtractConfig(dataset="emobox", encoders=("logmel",), manifest=folder)
    assert config.store_path == Path("cache/emobox-cafe.h5")
    assert corpus_name("emobox", tmp_path) == "emobox-cafe"  # the only set
    assert corpus_name("emodb", tmp_path) == "emodb"
    with pytest.raises(UsageError, match="not laid out as emobox"):
        corpus_name("emobox", folder)
