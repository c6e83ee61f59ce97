"""Damaged runs: `compare` names the file and what is wrong with it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from commands import run

from emofuse.common.disk import run_folder
from emofuse.common.errors import DataError
from emofuse.train import compare
from emofuse.train.runs.run_digests import write_digests

QUIET = {"say": lambda line: None}


def altered(folder: Path, to: Path, old: str, new: str) -> Path:
    """A copy of a run whose predictions.csv was written with other content."""
    shutil.copytree(folder, to)
    text = (to / "predictions.csv").read_text()
    assert old in text
    (to / "predictions.csv").write_text(text.replace(old, new, 1))
    write_digests(to)
    return to


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("s1_u000,1,ang", "s1_u000,1,joy", "a label that is not a class: 's1_u000': 'joy'"),
        ("s1_u000,1,", "s1_u000,one,", "a fold that is not a number: 's1_u000': 'one'"),
        ("s1_u001,1,", "s1_u000,1,", "1 row with the id of another"),
        ("id,fold,", "id,part,", "it has no column fold"),
    ],
)
def test_damaged_predictions_are_named(folder: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    other = altered(folder / "concat", tmp_path / "damaged", old, new)
    with pytest.raises(DataError, match=message) as caught:
        compare(runs=[folder / "audio", other], **QUIET)
    assert str(other) in str(caught.value)
    assert "predictions.csv" in str(caught.value)


def test_seeds_of_a_run_that_test_other_utterances_are_damage(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "text", tmp_path / "text")
    path = tmp_path / "text" / "predictions.csv"
    read = run_folder.read_csv(path)
    for altered_rows, message in (
        (read[:-1], "seed 1, pooled: "),
        ([*read[:-1], read[-1] | {"id": "other"}], "seed 1 does not test the utterances of seed 0"),
    ):
        run_folder.write_csv(path, altered_rows)
        write_digests(tmp_path / "text")
        with pytest.raises(DataError, match=message):
            compare(runs=[folder / "concat", tmp_path / "text"], **QUIET)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.json", "[]", "not a JSON object"),
        ("metrics.json", "{}", "metrics.json has no protocol"),
        ("config.json", '{"run": {}}', "it does not record the run's protocol"),
        ("utterances.csv", "id,who\ns1_u000,F\n", "it has no column speaker"),
    ],
)
def test_damaged_records_are_named(folder: Path, tmp_path: Path, name: str, content: str, message: str) -> None:
    other = tmp_path / "damaged"
    shutil.copytree(folder / "concat", other)
    (other / name).write_text(content)
    write_digests(other)
    done = run("compare", [str(folder / "audio"), str(other)])
    assert done.returncode == 3
    assert str(other) in done.stderr
    assert name in done.stderr
    assert message in done.stderr
