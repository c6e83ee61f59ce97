"""Folds from a file: both forms, how names match ids, what is refused, and EmoBox's folds of real corpora."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import emobox_samples as emobox
import pytest
import train_samples as samples

from emofuse.common.errors import UsageError
from emofuse.datasets.registry import read_corpus
from emofuse.manifests import protocol_files
from emofuse.manifests.fold_file import read_fold_file
from emofuse.manifests.folds.cross_validation import build_folds
from emofuse.manifests.folds.sides_from_file import FIFTH, fold_file_problems, fold_file_remarks
from emofuse.manifests.protocol import Protocol
from emofuse.manifests.schema import Manifest, Utterance

UTTERANCES = samples.utterances()
SESSIONS = ("1", "2", "3", "4")
TOML = """\
corpus = "tiny"
source = "made for the tests"
classes = ["ang", "hap", "neu", "sad"]
metrics = ["ua", "wa"]

[folds]
file = "{file}"
{more}
"""


def manifest(utterances: tuple[Utterance, ...] = UTTERANCES, corpus: str = "tiny") -> Manifest:
    return Manifest(corpus=corpus, reader="tiny-1", utterances=utterances)


def table(path: Path, rows: list[tuple[str, ...]], columns: str = "id,fold,side") -> Path:
    path.write_text("\n".join([columns, *map(",".join, rows)]) + "\n")
    return path


def by_session(u: Utterance, fold: str) -> str:
    return "test" if u.session == fold else "train"


def rows(side_of: Callable[[Utterance, str], str] = by_session) -> list[tuple[str, ...]]:
    return [(u.id, fold, side) for u in UTTERANCES for fold in SESSIONS if (side := side_of(u, fold))]


@pytest.fixture
def task(tmp_path: Path) -> Callable[..., Protocol]:
    def made(file: Path, more: str = "") -> Protocol:
        path = tmp_path / "mine.toml"
        path.write_text(TOML.format(file=file, more=more))
        return protocol_files.load(str(path))

    return made


# The sides


@pytest.mark.parametrize("form", ["csv", "jsonl", "without side"])
def test_a_table_gives_the_folds_of_a_protocol_by_session(form: str, tmp_path: Path, task: Any) -> None:
    if form == "csv":
        table(tmp_path / "folds.csv", rows())
    elif form == "jsonl":
        records = [dict(zip(("id", "fold", "side"), row, strict=True)) for row in rows()]
        (tmp_path / "folds.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    else:
        table(tmp_path / "folds.csv", [(u.id, str(u.session)) for u in UTTERANCES], "id,fold")
    found = task(Path("folds.jsonl" if form == "jsonl" else "folds.csv"))  # relative to the protocol's file
    for select in ("validation", "last"):
        expected = build_folds(samples.protocol(), UTTERANCES, select)
        assert build_folds(found, UTTERANCES, select) == expected


def test_a_validation_side_of_the_file_is_used_or_left_unused(tmp_path: Path, task: Any) -> None:
    def side(u: Utterance, fold: str) -> str:
        return {"1": "test", "2": "validation"}.get(str(u.session), "train") if fold == "1" else ""

    found = task(table(tmp_path / "folds.csv", rows(side)))
    (fold,) = build_folds(found, UTTERANCES, "validation")
    assert (fold.validated, {u.session for u in fold.validation}) == ("validation", {"2"})
    (last,) = build_folds(found, UTTERANCES, "last")
    assert (last.validated, last.validation, {u.session for u in last.train}) == (None, (), {"3", "4"})


@pytest.mark.parametrize(("disjoint", "unit"), [('["speaker"]', "speaker"), ("[]", "id")])
def test_a_single_fold_without_validation_holds_out_a_fifth_in_whole_units(
    disjoint: str, unit: str, tmp_path: Path, task: Any
) -> None:
    found = task(table(tmp_path / "folds.csv", [r for r in rows() if r[1] == "1"]), f"disjoint = {disjoint}")
    (fold,) = build_folds(found, UTTERANCES, "validation")
    trained, validated = ({getattr(u, unit) for u in side} for side in (fold.train, fold.validation))
    assert fold.validated == FIFTH
    assert not trained & validated
    assert len(validated) == max(1, (len(trained) + len(validated)) // 5)
    assert build_folds(found, UTTERANCES[::-1], "validation")[0].validation == fold.validation[::-1]


def test_speakers_on_two_sides_are_refused_until_the_protocol_allows_them(tmp_path: Path, task: Any) -> None:
    names = [(u.id, str(i % 3)) for i, u in enumerate(UTTERANCES)]
    file = table(tmp_path / "folds.csv", names, "id,fold")
    with pytest.raises(UsageError, match=r"(?s)leave it out of .disjoint.*fold 1: train and test share 8 speaker"):
        build_folds(task(file), UTTERANCES, "validation")
    allowed = task(file, "disjoint = []")
    assert len(build_folds(allowed, UTTERANCES, "validation")) == 3
    assert "tests speakers that it also trains on (fold 0, 1, 2)" in fold_file_remarks(allowed, manifest())[0]


def test_the_digest_follows_the_content_alone(tmp_path: Path) -> None:
    digests = [
        read_fold_file(name, tmp_path).digest
        for name, content in (("a.csv", rows()), ("b.csv", rows()[::-1]), ("c.csv", rows()[1:]))
        if table(tmp_path / name, content)
    ]
    assert digests[0] == digests[1] != digests[2]


# Names that do not match


def test_names_and_utterances_without_a_match_are_refused_unless_declared(tmp_path: Path, task: Any) -> None:
    gone, unknown = UTTERANCES[5].id, [("x1", "1", "train"), ("x2", "1", "train")]
    file = table(tmp_path / "folds.csv", [r for r in rows() if r[0] != gone] + unknown)
    absent, unassigned = fold_file_problems(task(file), manifest())
    assert absent.startswith("tiny does not have 2 names (x1, x2) of 65")
    assert absent.endswith("[folds] absent = 2")
    assert unassigned.startswith(f"1 utterance ({gone}) of the task in no fold")
    assert unassigned.endswith("[folds] unassigned = 1")
    declared = task(file, "absent = 2\nunassigned = 1")
    assert fold_file_problems(declared, manifest()) == []
    assert declared.class_of(UTTERANCES[5]) is None
    assert fold_file_remarks(declared, manifest())[0].endswith(f"left out: 1 utterance ({gone})")
    assert fold_file_problems(task(file, "unassigned = 1"), manifest(), allowed=2) == []


def test_a_file_of_another_corpus_is_refused(tmp_path: Path, task: Any) -> None:
    (problem,) = fold_file_problems(task(table(tmp_path / "f.csv", [("a", "1"), ("b", "2")], "id,fold")), manifest())
    assert problem.startswith("no name of")
    assert "2 names (a, b); 64 ids (s1_u000, s1_u001, s1_u002, ...)" in problem


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,fold,side\na,1,train\n", "fold 1 has no test side"),
        ("id,fold,side\na,1,train\na,1,test\n", r"fold 1 has 1 name \(a\) on two sides"),
        ("id,fold,side\na,1,test\nb,1,train\na,2,test\nb,2,train\n", r"1 name \(a\) are tested by more than one"),
        ("id,fold,side\na,1,dev\nb,1,valid\n", "side 'dev' of 1 rows; valid: train, validation, test"),
        ("id,part\na,1\n", "no column fold; expected: id, fold, and side; found: id, part"),
        ("id,fold\na,\n,2\nb\n", "row 4 has 1 cell, the header 2"),
        ("id,fold\na,\n,2\n", r"(?s)row 2 has no fold.*row 3 has no id"),
        ("id,fold\na,1\nb,2\na,2\n", r"1 name \(a\) in more than one row"),
        ("id,fold\n", "lists no utterance"),
    ],
)
def test_mistakes_of_a_table(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text(content)
    with pytest.raises(UsageError, match=message):
        read_fold_file("f.csv", tmp_path)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_tables_of_spreadsheets(delimiter: str, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("id,fold\na,1\nb,2\n".replace(",", delimiter))
    assert [fold.name for fold in read_fold_file("f.csv", tmp_path).folds] == ["1", "2"]


def test_a_fold_may_be_the_number_0_and_the_file_must_be_utf_8(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text('{"id": "a", "fold": 0}\n{"id": "b", "fold": 1}\n')
    assert [fold.name for fold in read_fold_file("f.jsonl", tmp_path).folds] == ["0", "1"]
    (tmp_path / "f.csv").write_text("id,fold\na,1\n", encoding="utf-16")
    with pytest.raises(UsageError, match="is not UTF-8"):
        read_fold_file("f.csv", tmp_path)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("none.csv", "does not exist"),
        ("$EMOFUSE_NO_SUCH/data/x", "the variable EMOFUSE_NO_SUCH is not set"),
        ("empty", "has no fold_1"),
        ("f.txt", "unknown file type; valid: .csv, .jsonl, or a folder"),
    ],
)
def test_a_file_that_cannot_be_read(file: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "f.txt").touch()
    with pytest.raises(UsageError, match=message):
        read_fold_file(file, tmp_path)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('by = "session"', "folds.by has no effect"),
        ("parts = 3", "folds.parts is 3"),
        ('absent = "all"', "folds.absent is 'all', expected a whole number"),
        ("absent = -1", "folds.absent is -1; expected 0 or more"),
    ],
)
def test_mistakes_of_a_protocol(more: str, message: str, task: Any) -> None:
    with pytest.raises(UsageError, match=message):
        task(Path("f.csv"), more)


def test_absent_needs_a_file() -> None:
    with pytest.raises(UsageError, match=r"folds.absent needs folds.file"):
        samples.protocol(folds={"by": "session", "absent": 1})


# EmoBox


def test_the_mistakes_of_a_set_are_listed_together(tmp_path: Path) -> None:
    row = emobox.row("lab", "a", "a.wav", "h")
    folder = emobox.write_set(tmp_path, "lab", [row], {"1": {"train": [row]}, "2": {"train": [row], "test": [{}]}})
    with pytest.raises(UsageError) as caught:
        read_fold_file(str(folder), tmp_path)
    assert "no file" in str(caught.value)
    assert "lab_test_fold_1.jsonl" in str(caught.value)
    assert "lab_test_fold_2.jsonl, row 1 has no key" in str(caught.value)


def real(shared: Path, corpus: str) -> list[dict[str, str]]:
    with (shared / f"data/{corpus}/utterances.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def write_real(clone: Path, shared: Path, corpus: str, groups: list[Any], group_of: Any) -> None:
    """The folds of a real corpus, each of which tests one group."""
    lines = {r["id"]: emobox.row(corpus, r["id"], r["audio"], r["label"]) for r in real(shared, corpus)}
    folds = {
        str(number): {
            "train": [row for id, row in lines.items() if group_of(id) != group],
            "test": [row for id, row in lines.items() if group_of(id) == group],
        }
        for number, group in enumerate(groups, 1)
    }
    emobox.write_set(clone, corpus, [*lines.values()], folds)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMOBOX", str(tmp_path))
    return tmp_path


def test_iemocap(shared: Path, clone: Path) -> None:
    write_real(clone, shared, "iemocap", [*"12345"], lambda id: id[4])
    utterances = tuple(
        Utterance(
            id=r["id"],
            audio=r["audio"],
            label=r["label"],
            session=r["id"][4],
            speaker=r["id"][:5] + r["id"].split("_")[-1][0],
            dialogue=r["id"].rsplit("_", 1)[0],
        )
        for r in real(shared, "iemocap")
    )
    task, ours = protocol_files.load("emobox-iemocap"), protocol_files.load("iemocap4")
    assert fold_file_problems(task, manifest(utterances, "iemocap")) == task.differences(utterances) == []
    assert build_folds(task, utterances, "validation") == build_folds(ours, utterances, "validation")


def test_savee(shared: Path, clone: Path) -> None:
    speakers = ["JE", "KL", "DC", "JK"]
    write_real(clone, shared, "savee", speakers, lambda id: id[:2])
    utterances = tuple(
        Utterance(id=f"{speaker}_{clip}", audio=r["audio"], label=r["label"], speaker=speaker)
        for r in real(shared, "savee")
        for speaker, clip in [r["id"].split("-")]
    )
    task = protocol_files.load("emobox-savee")
    assert fold_file_problems(task, manifest(utterances, "savee")) == task.differences(utterances) == []
    assert [{u.speaker for u in f.test} for f in build_folds(task, utterances, "last")] == [{s} for s in speakers]


def test_ravdess(shared: Path, clone: Path) -> None:
    actors = [[str(n).zfill(2) for n in range(first, 25, 6)] for first in range(1, 7)]
    write_real(clone, shared, "ravdess", actors, lambda id: next(g for g in actors if id[-2:] in g))
    utterances = tuple(
        Utterance(id=r["id"], audio=r["audio"], label=r["label"].lower(), speaker=f"Actor_{r['id'][-2:]}")
        for r in real(shared, "ravdess")
    )
    task = protocol_files.load("emobox-ravdess")
    assert fold_file_problems(task, manifest(utterances, "ravdess")) == task.differences(utterances) == []
    assert len(build_folds(task, utterances, "validation")) == 6


def test_meld(shared: Path, clone: Path) -> None:
    lines = [emobox.row("meld", r["id"], r["audio"], r["label"]) for r in real(shared, "meld")]
    sides = {"train": "train", "valid": "dev", "test": "test"}
    fold = {side: [r for r in lines if r["key"].endswith(f"-{split}")] for side, split in sides.items()}
    emobox.write_set(clone, "meld", lines, {"1": fold})
    meld, _ = read_corpus("meld", shared / "data/meld")
    task = protocol_files.load("emobox-meld")
    assert fold_file_problems(task, meld) == []
    members = [u for u in meld.utterances if task.class_of(u) is not None]
    assert task.differences(members) == []
    (found,) = build_folds(task, members, "validation")
    assert [len(side) for side in found.sides.values()] == [9988, 1108, 2610]
    assert "(train_dia125_utt3, dev_dia110_utt7)" in fold_file_remarks(task, meld)[0]


def test_cremad_with_actors_on_both_sides(clone: Path) -> None:
    ids = [f"{actor}_{sentence}_ANG_XX" for actor in range(1001, 1011) for sentence in ("DFA", "IEO", "TSI", "IWW")]
    lines = [emobox.row("cremad", id.replace("_", "-"), f"AudioWAV/{id}.wav", "ANG") for id in ids]
    emobox.write_set(
        clone, "cremad", lines, {"1": {"train": lines[::4] + lines[1::4] + lines[2::4], "test": lines[3::4]}}
    )
    utterances = tuple(Utterance(id=id, audio=id, label="ANG", speaker=id[:4]) for id in ids)
    task = protocol_files.load("emobox-cremad")
    assert fold_file_problems(task, manifest(utterances, "cremad")) == []
    (fold,) = build_folds(task, utterances, "validation")
    assert [len(side) for side in fold.sides.values()] == [24, 6, 10]
