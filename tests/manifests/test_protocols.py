"""The included protocols, and the errors of wrong ones."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import pytest

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.datasets.registry import CORPORA
from emofuse.manifests import protocol, protocol_files
from emofuse.manifests.schema import Utterance

NAMES = protocol_files.names()
WITHOUT_COUNTS = ("msp-podcast8", "msp-podcast-vad", "msp-podcast8-test2")  # they differ between releases
MINIMAL: dict[str, Any] = {
    "corpus": "lab",
    "source": "a test",
    "classes": ["ang", "hap"],
    "labels": {"anger": "ang", "joy": "hap", "excited": "hap"},
    "metrics": ["ua", "wa"],
    "folds": {"by": "speaker"},
    "expected": {"total": 3, "classes": {"ang": 1, "hap": 2}, "folds": {"a": 2, "b": 1}},
}
ROWS = [
    Utterance(id="1", text="x", label="anger", speaker="a"),
    Utterance(id="2", text="x", label="joy", speaker="a"),
    Utterance(id="3", text="x", label="excited", speaker="b"),
]


def changed(**changes: Any) -> dict[str, Any]:
    return {k: v for k, v in (copy.deepcopy(MINIMAL) | changes).items() if v is not None}


def test_the_planned_protocols_exist() -> None:
    wanted = [
        "iemocap4",
        "iemocap6",
        "meld7",
        "meld3",
        "savee7",
        "savee4",
        "ravdess8",
        "ravdess4",
        "emodb4",
        "goemotions",
        "goemotions4",
        "synthetic4",
        "joint4",
        "joint4-ravdess",
        "joint4-goemotions",
    ]
    assert set(wanted) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_counts_of_an_included_protocol_add_up(name: str) -> None:
    task = protocol_files.declared(name)
    assert task.name == name
    assert all(c in CORPORA for c in (*task.corpora, task.test_corpus) if c)
    assert task.source
    assert all(c in task.labels.values() for c in task.classes)
    if name in WITHOUT_COUNTS:
        assert task.expected is None
        return
    assert task.expected is not None
    if task.target.kind in ("classes", "multilabel"):
        assert set(task.expected.classes) == set(task.classes)
        counted = sum(task.expected.classes.values())
        assert counted == task.expected.total or (task.target.kind == "multilabel" and counted > task.expected.total)
    if task.expected.folds:
        assert sum(task.expected.folds.values()) == task.expected.total


@pytest.mark.parametrize("name", NAMES)
def test_an_included_protocol_holds_out_what_forms_its_folds(name: str) -> None:
    task = protocol_files.declared(name)
    held = {task.fold_by: task.disjoint} if task.joint is None else {}
    for corpus in task.corpora if task.joint else ():
        held |= {task.joint.by[corpus]: task.joint.disjoint[corpus]}
    for by, disjoint in held.items():
        assert by in protocol.GROUPINGS or task.fold_source
        assert by not in ("session", "speaker") or by in disjoint
    held_out = [v for group in task.fold_groups for v in group]
    assert len(held_out) == len(set(held_out))


@pytest.mark.parametrize(
    ("name", "total", "classes"),
    [
        ("iemocap4", 5531, [1103, 1636, 1084, 1708]),
        ("iemocap4-improvised", 2943, [289, 947, 608, 1099]),
        ("iemocap4-scripted", 2588, [814, 689, 476, 609]),
        ("iemocap6", 7380, [1103, 595, 1041, 1084, 1849, 1708]),
        ("savee7", 480, [60, 60, 60, 60, 120, 60, 60]),
        ("savee4", 300, [60, 60, 60, 120]),
        ("ravdess8", 1440, [96] + 7 * [192]),
        ("ravdess4", 672, [192, 192, 192, 96]),
        ("goemotions4", 19341, [1052, 1265, 1003, 16021]),
        ("joint4", 5831, [1696, 1163, 1144, 1828]),
        ("joint4-ravdess", 6503, [1888, 1355, 1336, 1924]),
        ("joint4-goemotions", 7763, [1789, 1294, 1246, 3434]),
        ("emodb4", 339, [127, 71, 79, 62]),
        ("cremad6", 7442, 4 * [1271] + [1087, 1271]),
    ],
)
def test_published_counts(name: str, total: int, classes: list[int]) -> None:
    task = protocol_files.load(name)
    assert task.expected is not None
    assert task.expected.total == total
    assert [task.expected.classes[c] for c in task.classes] == classes


def test_excited_is_happy_in_four_classes_and_itself_in_six() -> None:
    excited = Utterance(id="x", text="x", label="exc", session="1")
    assert protocol_files.load("iemocap4").class_of(excited) == "hap"
    assert protocol_files.load("iemocap6").class_of(excited) == "exc"
    assert protocol_files.load("iemocap4").class_of(Utterance(id="x", text="x", label="fru")) is None


def test_sentiment_comes_from_the_extra_annotation() -> None:
    task = protocol_files.load("meld3")
    assert task.class_of(Utterance(id="x", text="x", label="joy", extra={"sentiment": "positive"})) == "positive"
    assert task.class_of(Utterance(id="x", text="x", label="joy")) is None


def test_ravdess_folds_are_six_groups_of_four() -> None:
    task = protocol_files.load("ravdess8")
    groups = {task.group_of(Utterance(id="x", text="x", speaker=f"Actor_{n:02d}")) for n in range(1, 25)}
    assert len(groups) == 6
    with pytest.raises(UsageError, match="speaker 'Actor_25' is in none of protocol ravdess8's groups"):
        task.group_of(Utterance(id="x", text="x", speaker="Actor_25"))


def test_an_utterance_without_a_fold_value_is_refused() -> None:
    with pytest.raises(UsageError, match="x has no session, but protocol iemocap4 forms its folds by session"):
        protocol_files.load("iemocap4").group_of(Utterance(id="x", text="x"))


@pytest.mark.parametrize("corpus", [e.name for e in CORPORA if e.name not in ("custom", "emobox")])
def test_every_corpus_has_a_default_protocol(corpus: str) -> None:
    assert protocol_files.default_for(corpus).corpus == corpus


def test_default_protocols() -> None:
    usual = {"iemocap": "iemocap4", "meld": "meld7", "savee": "savee7", "ravdess": "ravdess8"}
    assert {c: protocol_files.default_for(c).name for c in usual} == usual
    assert protocol_files.default_for("goemotions").name == "goemotions"
    with pytest.raises(UsageError, match="no protocol for corpus 'custom'"):
        protocol_files.default_for("custom")


def test_an_unknown_protocol_lists_the_valid_ones() -> None:
    with pytest.raises(
        UnknownNameError, match=r"Did you mean 'iemocap[46]'\? Valid: .*cremad6, emobox-cremad, .*--protocol PATH\.toml"
    ):
        protocol_files.load("iemocap5")


def test_differing_counts_are_reported_with_both_numbers() -> None:
    task = protocol_files.parse("mine", MINIMAL)
    assert task.differences(ROWS) == []
    assert task.differences(ROWS[:2]) == [
        "utterances in all: found 2, expected 3",
        "class hap: found 1, expected 2",
        "speaker b: found 0, expected 1",
    ]
    assert "speaker c: found 1, expected 0" in task.differences(
        [*ROWS, Utterance(id="4", text="x", label="joy", speaker="c")]
    )


def test_a_known_gap_of_the_release_is_no_difference() -> None:
    raw = changed(expected=MINIMAL["expected"] | {"without_audio": ["3"]})
    task = protocol_files.parse("mine", raw)
    assert task.differences(ROWS, available={"1", "2"}) == []
    assert task.differences(ROWS, available={"1", "3"}) != []


def test_without_expected_counts_nothing_differs() -> None:
    assert protocol_files.parse("mine", changed(expected=None)).differences(ROWS) == []


def test_defaults() -> None:
    task = protocol_files.parse("mine", changed(labels=None))
    assert task.labels == {"ang": "ang", "hap": "hap"}
    assert (task.label_field, task.disjoint, task.fold_groups) == ("label", ("speaker",), ())
    assert protocol_files.parse("mine", changed(folds={"by": "split"})).disjoint == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corpus": None, "metrics": None}, r"(?s)'corpus' is missing.*'metrics' is missing"),
        ({"classses": []}, "unknown key classses; known: classes, corpus"),
        ({"folds": {"by": "speaker", "seed": 1}}, "unknown key folds.seed; known: absent, by, disjoint, file, groups"),
        ({"folds": "speaker"}, "folds is 'speaker', expected a table"),
        ({"folds": {"by": "corpus"}}, "folds.by is 'corpus'; valid: session, speaker, dialogue, sentence, split"),
        ({"folds": {}}, "folds.by is None; valid: session"),
        ({"folds": {"by": "speaker", "groups": ["a", "b"]}}, "folds.groups, item 1, is 'a', expected a list"),
        ({"folds": {"by": "speaker", "groups": [["a"], ["a"]]}}, "folds.groups: 'a' is named 2 times"),
        ({"folds": {"by": "speaker", "disjoint": ["split"]}}, "folds.disjoint names 'split'; valid: session"),
        ({"classes": "ang"}, "classes is 'ang', expected a list"),
        ({"classes": ["ang", "hap", "ang"]}, "class 'ang' is named 2 times"),
        ({"classes": [], "labels": {}, "expected": None}, "classes is empty"),
        ({"classes": ["ang", "hap", "sad"]}, "class 'sad' has no label"),
        ({"labels": {"anger": "ang", "joy": "happy", "x": "hap"}}, "label 'joy' maps to 'happy', which is not a class"),
        ({"labels": {"anger": 1}}, "labels.anger is 1, expected text"),
        ({"metrics": ["accuracy"]}, "no metric named 'accuracy'; valid: wa, ua, wf1, macro_f1, micro_f1"),
        ({"metrics": []}, "metrics is empty"),
        ({"expected": {"classes": {}}}, "'expected.total' is missing"),
        ({"expected": {"total": "many"}}, "expected.total is 'many', expected a whole number"),
        ({"expected": {"total": True}}, "expected.total is True, expected a whole number"),
        ({"expected": {"total": 1, "classes": {"angry": 1}}}, "expected.classes names 'angry', which is not a class"),
    ],
)
def test_mistakes_in_a_protocol_are_named(changes: dict[str, Any], message: str) -> None:
    raw = changed(**changes)
    with pytest.raises(UsageError, match=message):
        protocol_files.parse("mine", raw)


def test_your_own_protocol_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('corpus = "lab"\nsource = "me"\nclasses = ["a", "b"]\nmetrics = ["wa"]\n[folds]\nby = "session"\n')
    assert protocol_files.load(str(path)).name == "mine"
    assert protocol_files.parse("mine", tomllib.loads(path.read_text())) == protocol_files.load(str(path))
    broken = tmp_path / "broken.toml"
    broken.write_text("classes = [\n")
    with pytest.raises(UsageError, match=r"broken\.toml is not TOML"):
        protocol_files.load(str(broken))
    with pytest.raises(UsageError, match=r"no protocol file .*absent\.toml; known protocols: .*cremad6, emobox-cremad"):
        protocol_files.load(str(tmp_path / "absent.toml"))


def test_an_edited_protocol_file_takes_effect_and_an_unchanged_one_is_parsed_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    content = 'corpus = "lab"\nsource = "me"\nclasses = ["a", "b"]\nmetrics = ["wa"]\n[folds]\nby = "session"\n'
    path.write_text(content)
    first = protocol_files.load(str(path))
    assert protocol_files.load(str(path)) is first
    assert protocol_files.load("iemocap4") is protocol_files.load("iemocap4")
    path.write_text(content.replace("session", "speaker"))
    assert (first.fold_by, protocol_files.load(str(path)).fold_by) == ("session", "speaker")
