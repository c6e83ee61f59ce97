"""The same recording on two sides of a fold: refused with its ids, or accepted and marked in every output."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import joint_samples as joint
import pytest
import train_samples as samples

from emofuse.common.errors import UsageError
from emofuse.manifests.folds.cross_validation import build_folds
from emofuse.manifests.schema import Utterance
from emofuse.train.api import fit
from emofuse.train.resolve.leaks.duplicate_audio import check_duplicate_audio, shared_clips
from emofuse.train.runs.fit_context import resolved

UTTERANCES = samples.utterances()


def scanned(utterances: Sequence[Utterance] = UTTERANCES, **same: str) -> tuple[Utterance, ...]:
    """The utterances with digests of their own; `same` gives one the digest of another one."""
    return tuple(replace(u, audio_digest=f"digest of {same.get(u.id, u.id)}") for u in utterances)


def folder_with(tmp_path: Path, **same: str) -> Path:
    samples.store(tmp_path / "tiny.h5", scanned(**same))
    samples.protocol_file(tmp_path)
    return tmp_path


def test_a_clip_on_two_sides_is_refused_with_ids_folds_and_the_way_out(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, s2_u000="s1_u005", s4_u003="s3_u001")
    with pytest.raises(UsageError) as caught:
        samples.quietly(samples.config(folder, "run", "text"))
    message = str(caught.value)
    assert "the test side and in training or validation, 2 pairs of utterances in fold 1, 2, 3, 4: " in message
    assert "s1_u005 = s2_u000, s3_u001 = s4_u003\n" in message
    assert "--allow-duplicates" in message
    assert not (folder / "run").exists()
    assert not (folder / "run.part").exists()


def test_only_the_requested_folds_are_checked(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, s2_u000="s1_u005")
    with pytest.raises(UsageError, match="in fold 1, 2: "):
        samples.quietly(samples.config(folder, "run", "text"))
    with resolved(samples.config(folder, "run", "text", folds="3,4")) as plan:
        assert plan.shared.clips == ()
        assert any("s1_u005 = s2_u000" in remark for remark in plan.remarks), "told: one side has both"


def test_training_and_validation_are_both_compared() -> None:
    folds = build_folds(samples.protocol(), scanned(s2_u000="s1_u005", s3_u000="s1_u005"), "validation")
    found = {(c.fold, c.test, c.other, c.side) for c in shared_clips(folds)}
    assert found == {
        (1, "s1_u005", "s3_u000", "train"),  # fold 1 validates on session 2
        (2, "s2_u000", "s1_u005", "train"),
        (3, "s3_u000", "s1_u005", "train"),
    }
    only_validated = build_folds(samples.protocol(), scanned(s2_u000="s1_u005"), "validation")[:1]
    assert [(c.side, c.other) for c in shared_clips(only_validated)] == [("validation", "s2_u000")]


def test_clips_of_one_side_are_told_and_different_or_unscanned_clips_are_not() -> None:
    folds = build_folds(samples.protocol(), scanned(s1_u000="s1_u005"), "validation")
    shared, remarks = check_duplicate_audio(folds, scanned(s1_u000="s1_u005"), allowed=False)
    assert shared == ()
    assert remarks == ["recordings that occur more than once, on one side of each fold: s1_u000 = s1_u005"]
    for members in (scanned(), UTTERANCES):
        folds = build_folds(samples.protocol(), members, "validation")
        assert check_duplicate_audio(folds, members, allowed=False) == ((), [])


def test_accepted_duplicates_are_marked_in_every_output(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, s2_u000="s1_u005")
    lines: list[str] = []
    asked = samples.config(folder, "run", "text", allow_duplicates=True, steps=2, folds="1,3", seeds=2, report=True)
    done = fit(asked, say=lines.append)
    mark = "1 test utterance with audio that is also in training or validation (--allow-duplicates)"
    assert any(line.startswith("text on tiny4, ") and mark in line for line in lines)
    assert any(line.startswith("note ") and "s1_u005 = s2_u000" in line for line in lines)
    clip = {"fold": 1, "test": "s1_u005", "other": "s2_u000", "side": "validation"}
    for path in (done.folder, done.folder / "seed_0", done.folder / "seed_1"):
        assert json.loads((path / "metrics.json").read_text())["duplicate_audio"] == [clip]
        assert mark in (path / "report.html").read_text()
    assert json.loads((done.folder / "config.json").read_text())["run"]["allow_duplicates"] is True


def test_the_option_is_part_of_a_run_only_where_it_is_given(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    with resolved(samples.config(folder, "run", "text")) as plan:
        assert "allow_duplicates" not in plan.identity()
        assert "names" not in plan.identity()["protocol"], "older runs do not have it"
    with resolved(samples.config(folder, "run", "text", allow_duplicates=True)) as plan:
        assert plan.identity()["allow_duplicates"] is True
        assert plan.remarks[-1].startswith("--allow-duplicates has no effect")


@pytest.fixture
def two_corpora(tmp_path: Path) -> Path:
    """`big` and `small` share a clip: tested in session 1, trained on with the speakers of fold 2."""
    big = [replace(u, audio_digest=f"big {u.id}") for u in joint.utterances("big")]
    small = [replace(u, audio_digest=f"small {u.id}") for u in joint.utterances("small")]
    small[-1] = replace(small[-1], audio_digest=big[0].audio_digest)
    joint.store(tmp_path, "big", tuple(big))
    joint.store(tmp_path, "small", tuple(small))
    joint.protocol(tmp_path)
    return tmp_path


def test_the_same_clip_in_two_stores_of_a_task_is_refused(two_corpora: Path) -> None:
    with pytest.raises(UsageError) as caught, resolved(joint.config(two_corpora)):
        pass
    assert f"1 pair of utterances in fold 1, 2: big:s1_u000 = small:{joint.utterances('small')[-1].id}\n" in str(
        caught.value
    )


def test_it_is_reported_together_with_what_else_leaks(tmp_path: Path) -> None:
    members = scanned(s2_u000="s1_u005")
    seen: dict[str, Any] = {"fitted_on": [{"corpus": "tiny", "labels": True}]}
    features = {"bert": samples.FeatureData(modality="text", arrays=samples.frames(members, 1), provenance=seen)}
    samples.store(tmp_path / "tiny.h5", members, features=features)
    samples.protocol_file(tmp_path)
    with pytest.raises(UsageError) as caught:
        samples.quietly(samples.config(tmp_path, "run", "text"))
    assert "an encoder was trained on" in str(caught.value)
    assert "s1_u005 = s2_u000" in str(caught.value)
