"""Classes that the training or the test side of a fold lacks, and what that does to its scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import train_samples as samples

from emofuse.manifests.folds.cross_validation import build_folds
from emofuse.manifests.schema import Utterance
from emofuse.train.api import fit
from emofuse.train.resolve.leaks.class_coverage import ClassGaps, class_gaps


def uneven() -> tuple[Utterance, ...]:
    """Session 1 has no `sad`, and only session 2 has `neu`."""
    other = {"sad": "ang", "neu": "hap"}
    return tuple(
        replace(u, label=other.get(str(u.label), u.label))
        if (u.session, u.label) == ("1", "sad") or (u.session != "2" and u.label == "neu")
        else u
        for u in samples.utterances()
    )


def test_the_classes_that_a_side_lacks_are_found_per_fold() -> None:
    found = class_gaps(samples.protocol(), build_folds(samples.protocol(), uneven(), "validation"))
    assert found == (
        # Fold 1 tests session 1 and validates on 2, so that its training side, 3 and 4, has no `neu` either.
        ClassGaps(fold=1, untrained=(), untested=("neu", "sad")),
        ClassGaps(fold=2, untrained=("neu",), untested=()),
        ClassGaps(fold=3, untrained=(), untested=("neu",)),
        ClassGaps(fold=4, untrained=(), untested=("neu",)),
    )


def test_complete_sides_say_nothing() -> None:
    assert class_gaps(samples.protocol(), build_folds(samples.protocol(), samples.utterances(), "validation")) == ()


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_run_says_what_missing_classes_do_to_its_mean(tmp_path: Path, seeds: int) -> None:
    members = uneven()
    data = samples.FeatureData(modality="text", arrays=samples.frames(members, 1))
    samples.store(tmp_path / "tiny.h5", members, features={"bert": data})
    samples.protocol_file(tmp_path)
    lines: list[str] = []
    done = fit(samples.config(tmp_path, "run", "text", steps=2, seeds=seeds, report=True), say=lines.append)
    assert done.metrics["class_gaps"] == [
        {"fold": 1, "untrained": [], "untested": ["neu", "sad"]},
        {"fold": 2, "untrained": ["neu"], "untested": []},
        {"fold": 3, "untrained": [], "untested": ["neu"]},
        {"fold": 4, "untrained": [], "untested": ["neu"]},
    ]
    notes = [line for line in lines if line.startswith("note ")]
    assert any(note.endswith("not on the training side count as missed: fold 2 tests neu") for note in notes)
    assert any(
        "so UA is over 2 in fold 1 (no neu, sad), over 3 in fold 3 (no neu), over 3 in fold 4" in n for n in notes
    )
    mean, pooled = (f"{done.metrics[kind]['ua']:.3f}" for kind in ("mean", "pooled"))
    sentence = (
        f"here 2 to 4 of 4: the mean over folds, {mean}, weighs classes unevenly; the pooled UA, {pooled}, is over"
    )
    assert any(sentence in line for line in lines)
    assert "never trained, so its recall counts as 0: neu in fold 2" in lines
    page = (done.folder / "report.html").read_text()
    assert sentence in page
    assert "Never trained, so its recall counts as 0: neu in fold 2." in page
