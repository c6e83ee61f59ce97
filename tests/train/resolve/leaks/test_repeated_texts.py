"""Test texts that are also on the training side: counted per fold, and scored apart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import train_samples as samples

from emofuse.manifests.folds.cross_validation import build_folds
from emofuse.manifests.metrics.scores import scores
from emofuse.manifests.schema import Manifest, Utterance
from emofuse.store import FeatureData, write_store
from emofuse.train.api import fit
from emofuse.train.resolve.leaks.repeated_texts import repeated_texts


def scripted() -> tuple[Utterance, ...]:
    """Utterances 0 to 7 of a session have texts of their own, 8 to 13 those of every session, 14 and 15 none."""
    own = [replace(u, text=f"{u.text} of {u.session}!") if int(u.id[-3:]) < 8 else u for u in samples.utterances()]
    texts = [replace(u, text=None) if int(u.id[-3:]) >= 14 else u for u in own]
    # The same words in other letters, and with other punctuation.
    return tuple(replace(u, text=str(u.text).upper() + "?!") if u.id == "s1_u009" else u for u in texts)


def test_texts_are_compared_by_their_words_on_the_training_side_alone() -> None:
    folds = build_folds(samples.protocol(), scripted(), "validation")
    found = repeated_texts(folds)
    assert list(found) == [1, 2, 3, 4]
    for fold in folds:
        assert {id for id, repeated in found[fold.number].items() if repeated} == {
            u.id for u in fold.test if 8 <= int(u.id[-3:]) < 14
        }
        assert len(found[fold.number]) == 14, "two have no text"
    only_validated = [replace(u, text="said once more") if u.id in ("s1_u000", "s2_u000") else u for u in scripted()]
    assert not repeated_texts(build_folds(samples.protocol(), only_validated, "validation"))[1]["s1_u000"]


def test_withheld_texts_give_the_same_counts() -> None:
    withheld = Manifest(corpus="tiny", reader="tiny-1", utterances=scripted()).without_text().utterances
    assert all(u.text is None for u in withheld)
    of_both = [
        repeated_texts(build_folds(samples.protocol(), members, "validation")) for members in (scripted(), withheld)
    ]
    assert of_both[0] == of_both[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("texts")
    members = scripted()
    audio = FeatureData(modality="audio", arrays=samples.frames(members, 0), encoder="logmel-smcn", frame_rate=20.0)
    manifest = Manifest(corpus="tiny", reader="tiny-1", utterances=members).without_text()
    write_store(made / "tiny.h5", manifest, {"logmel": audio})
    samples.protocol_file(made)
    return made


def test_an_audio_run_reports_counts_and_scores_on_both_kinds(folder: Path) -> None:
    lines: list[str] = []
    done = fit(samples.config(folder, "run", "audio", steps=30, report=True), say=lines.append)
    texts = done.metrics["repeated_texts"]
    assert (texts["test_texts"], texts["repeated"]) == (56, 24)
    assert texts["folds"] == [{"fold": n, "test_texts": 14, "repeated": 6} for n in (1, 2, 3, 4)]
    column = {row["id"]: row["text_in_training"] for row in samples.rows(done.folder / "utterances.csv")}
    assert {id[-3:]: value for id, value in column.items() if id.startswith("s3")} == {
        f"{i:03d}": "no" if i < 8 else "yes" if i < 14 else "" for i in range(16)
    }
    index = {c: i for i, c in enumerate(samples.CLASSES)}
    rows = samples.rows(done.folder / "predictions.csv")
    for kind, value in (("repeated", "yes"), ("others", "no")):
        chosen = [r for r in rows if column[r["id"]] == value]
        pairs = np.array([[index[r["label"]], index[r["prediction"]]] for r in chosen])
        assert texts["scores"][kind] == pytest.approx(scores(pairs[:, 0], pairs[:, 1]))
    header = next(line for line in lines if line.startswith("texts "))
    assert "24 of 56 test texts are also on the training side (by fold: 1 6/14, 2 6/14, " in header
    assert header.endswith("models of audio can learn them too")
    (row,) = [line for text in lines for line in text.splitlines() if line.startswith("texts also in training")]
    assert row.split()[4:6] == ["24", f"{texts['scores']['repeated']['ua']:.3f}"]
    page = (done.folder / "report.html").read_text()
    assert "texts also in training" in page
    assert "texts not in training" in page


def test_several_seeds_report_the_mean_of_their_scores(folder: Path) -> None:
    lines: list[str] = []
    done = fit(samples.config(folder, "seeds", "audio", steps=4, seeds=2, folds="1,2"), say=lines.append)
    seeds = [json.loads((done.folder / f"seed_{s}" / "metrics.json").read_text()) for s in (0, 1)]
    for kind in ("repeated", "others"):
        mean = np.mean([s["repeated_texts"]["scores"][kind]["ua"] for s in seeds])
        assert done.metrics["repeated_texts"]["scores"][kind]["ua"] == pytest.approx(mean)
    assert any("texts also in training: 12" in line for line in lines)


def test_a_corpus_without_texts_says_nothing(tmp_path: Path) -> None:
    members = tuple(replace(u, text=None) for u in samples.utterances())
    audio = FeatureData(modality="audio", arrays=samples.frames(members, 0), encoder="logmel-smcn")
    samples.store(tmp_path / "tiny.h5", members, features={"logmel": audio})
    samples.protocol_file(tmp_path)
    lines: list[str] = []
    done = fit(samples.config(tmp_path, "run", "audio", steps=2, folds="1"), say=lines.append)
    assert "repeated_texts" not in done.metrics
    assert not any(line.startswith("texts ") for line in lines)
    assert {row["text_in_training"] for row in samples.rows(done.folder / "utterances.csv")} == {""}
