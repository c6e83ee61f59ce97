"""What another corpus shares with training: the same utterances, texts, and audio that is nearly the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import train_samples as samples
from evaluation_samples import on_other, other_store, other_utterances, silent
from train_samples import config, rows

from emofuse.common.errors import UsageError
from emofuse.manifests.schema import Utterance
from emofuse.store import FeatureData
from emofuse.train import Run, evaluate, fit

OURS = samples.utterances()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("shared-data")
    samples.store(folder / "tiny.h5", tuple(replace(u, audio_digest=f"{i:032x}") for i, u in enumerate(OURS)))
    samples.protocol_file(folder)
    return fit(config(folder, "run", "text", folds="1", steps=2), say=silent)


def numbered(**changes: Any) -> tuple[Utterance, ...]:
    """The other corpus under the ids of the run's."""
    return tuple(replace(u, id=u.id.removeprefix("other_"), **changes) for u in other_utterances())


def test_a_corpus_with_equal_ids_is_another_one_where_texts_and_audio_differ(run: Run, tmp_path: Path) -> None:
    of = tuple(replace(u, text=f"other {u.text}", audio_digest=f"{i + 999:032x}") for i, u in enumerate(numbered()))
    found = on_other(run, "numbered", store=other_store(tmp_path / "other.h5", of))
    assert found.metrics["evaluation"]["shared_audio"] == []


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="equal texts"),
        pytest.param({"audio_digest": "f" * 32}, id="equal texts of other encodings"),
        pytest.param({"text": None}, id="nothing to compare"),
    ],
)
def test_a_corpus_with_equal_ids_and_nothing_that_differs_is_refused(
    run: Run, tmp_path: Path, changes: dict[str, Any]
) -> None:
    store = other_store(tmp_path / "other.h5", numbered(**changes))
    with pytest.raises(UsageError, match="the same corpus under another name; if it is another one, give it other ids"):
        on_other(run, "x", store=store)


def test_a_corpus_of_the_same_name_is_another_one_where_no_utterance_is_equal(run: Run, tmp_path: Path) -> None:
    store = other_store(tmp_path / "other.h5", corpus="tiny")
    found = on_other(run, "same-name", store=store)
    assert found.metrics["evaluation"]["same_corpus"] is False
    assert found.metrics["pooled"]["ua"] is not None
    page = (found.folder / "report.html").read_text()
    assert "valuated on tiny (another corpus of that name), trained on tiny, not retrained" in page
    (run.folder.parent / "tiny.h5").rename(run.folder.parent / "away.h5")
    try:  # without the training store, the ids of the tested utterances decide
        assert on_other(run, "alone", store=store).metrics["evaluation"]["same_corpus"] is False
    finally:
        (run.folder.parent / "away.h5").rename(run.folder.parent / "tiny.h5")


def test_texts_of_training_are_counted_and_scored_apart(run: Run, tmp_path: Path) -> None:
    of = tuple(replace(u, text="new words") if i % 4 == 0 else u for i, u in enumerate(other_utterances()))
    lines: list[str] = []
    found = on_other(run, "texts", store=other_store(tmp_path / "other.h5", of), say=lines.append)
    texts = found.metrics["repeated_texts"]
    assert (texts["test_texts"], texts["repeated"]) == (32, 24)
    yes = {u["id"] for u in rows(found.folder / "utterances.csv") if u["text_in_training"] == "yes"}
    assert yes == {u.id for u in of if u.text != "new words"}
    assert any(line.startswith("texts     24 of 32 test texts") for line in lines)


def test_without_all_stores_of_the_run_nothing_is_said_of_texts(run: Run, tmp_path: Path) -> None:
    store = other_store(tmp_path / "other.h5")
    moved = run.folder.parent / "tiny.h5"
    moved.rename(tmp_path / "moved.h5")
    try:
        assert "repeated_texts" not in on_other(run, "absent", store=store).metrics
    finally:
        (tmp_path / "moved.h5").rename(moved)


def test_the_same_corpus_shares_what_the_run_has_recorded(run: Run) -> None:
    again = on_other(run, "again", store=run.folder.parent / "tiny.h5", map=())
    assert again.metrics["repeated_texts"] == run.metrics["repeated_texts"]
    assert again.utterances == run.utterances


def recordings(of: tuple[Utterance, ...], seed: int) -> dict[str, Any]:
    """Log energies of 60 frames that change as slowly as speech does."""
    found = {}
    for i, u in enumerate(of):
        noise = np.random.default_rng([seed, i]).standard_normal((68, 30))
        found[u.id] = np.stack([8 + 2 * noise[t : t + 4].mean(0) for t in range(60)]).astype(np.float32)
    return found


def test_audio_that_is_nearly_that_of_training_is_named(tmp_path: Path) -> None:
    def speech(arrays: dict[str, Any]) -> dict[str, FeatureData]:
        data = FeatureData(modality="audio", arrays=arrays, encoder="logmel-mcfn", frame_rate=25.0)
        return {"speech": data}

    ours, of = recordings(OURS, 0), other_utterances()
    theirs = recordings(of, 1) | {of[3].id: ours["s2_u005"][5:] + 1.5}  # cut, and at another gain
    samples.store(tmp_path / "tiny.h5", OURS, "tiny", speech(ours))
    samples.store(tmp_path / "other.h5", of, "other", speech(theirs))
    samples.protocol_file(tmp_path)
    run = fit(config(tmp_path, "run", "linear", folds="1", steps=2, audio="speech"), say=silent)
    (pair,) = on_other(run, "on-other").metrics["near_duplicates"]
    assert (pair["test"], pair["other"], pair["fold"]) == (of[3].id, "tiny:s2_u005", 1)
    assert pair["correlation"] > 0.99


def test_a_run_of_version_0_1_0_is_evaluated_on_its_own_corpus(tmp_path: Path) -> None:
    archive = Path(__file__).parents[2] / "archives" / "run-v0.1.0"
    (folder,) = (archive / "runs").iterdir()
    found = evaluate(run=folder, store=archive / "tiny.h5", out=tmp_path / "again", device="cpu", say=silent)
    assert found.metrics["pooled"]["ua"] == pytest.approx(Run.open(folder).metrics["pooled"]["ua"])
    assert "repeated_texts" not in found.metrics
