"""GoEmotions: the real files, and the errors of damaged ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from emofuse.common.errors import UsageError
from emofuse.datasets.goemotions import EMOTIONS
from emofuse.datasets.registry import read_corpus
from emofuse.manifests import protocol_files
from emofuse.manifests.schema import Manifest


@pytest.fixture(scope="module")
def real(shared: Path) -> Manifest:
    return read_corpus("goemotions", shared / "data/goemotions")[0]


def write(root: Path, train: str = "so happy\t17\ta1\n") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "train.tsv").write_bytes(train.encode())
    (root / "dev.tsv").write_text("what\t26\tb1\n")
    (root / "test.tsv").write_text("fine\t27\tc1\n")
    return root


def test_every_row_is_read_as_text_only(real: Manifest) -> None:
    assert real.counts("split") == {"dev": 5426, "test": 5427, "train": 43410}
    assert real.has("text")
    assert not real.has("audio")
    assert real.excluded == ()


def test_the_protocol_uses_the_single_label_rows(real: Manifest) -> None:
    task = protocol_files.load("goemotions")
    members = [u for u in real.utterances if task.class_of(u) is not None]
    splits = [u.split for u in members]
    assert [splits.count(s) for s in ("train", "dev", "test")] == [36308, 4548, 4590]
    assert task.differences(members) == []
    assert all("," in str(u.label) for u in real.utterances if task.class_of(u) is None)


def test_the_built_in_names_are_those_of_the_release(shared: Path) -> None:
    assert (shared / "data/goemotions/emotions.txt").read_text().split() == EMOTIONS
    assert list(protocol_files.load("goemotions").classes) == EMOTIONS


@pytest.mark.parametrize("inner", [".", "data"])
def test_rows_and_layouts(inner: str, tmp_path: Path) -> None:
    write(tmp_path / inner, "mixed \t27,0\ta1\r\na \u2028 b\t3\ta2\n")
    first, second, *_ = read_corpus("goemotions", tmp_path)[0].utterances
    assert (first.id, first.text, first.label, first.split) == ("a1", "mixed", "admiration,neutral", "train")
    assert (second.text, second.label) == ("a \u2028 b", "annoyance")


def test_emotions_txt_overrides_the_built_in_names(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "emotions.txt").write_text("\n".join(e.upper() for e in EMOTIONS))
    assert read_corpus("goemotions", tmp_path)[0].utterances[0].label == "JOY"


def test_wrong_rows_are_all_named(tmp_path: Path) -> None:
    write(tmp_path, "no labels\ta1\nunknown\t28\ta2\nnegative\t-1\ta3\nwords\tjoy\ta4\nright\t1\ta5\n")
    with pytest.raises(UsageError) as error:
        read_corpus("goemotions", tmp_path)
    assert [f"train.tsv:{n} is not text" in str(error.value) for n in (1, 2, 3, 4, 5)] == [True] * 4 + [False]


def test_missing_files_are_all_named(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "dev.tsv").unlink()
    (tmp_path / "test.tsv").unlink()
    with pytest.raises(UsageError, match=r"(?s)no dev\.tsv.*no test\.tsv"):
        read_corpus("goemotions", tmp_path)
