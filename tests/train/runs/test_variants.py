"""Variants of a fit: named ablations, epochs instead of steps, short runs, scores with a modality absent."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import train_samples as samples

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.manifests.folds.cross_validation import build_folds, stratified_sample
from emofuse.store import FeatureStore
from emofuse.train.api import fit
from emofuse.train.models.config import Config, shortened, with_settings
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.resolve.make_plan import resolve
from emofuse.train.runs.reporting.caveats import caveats

TRANSFORMER = ("width=8", "heads=2", "feedforward=16", "batch=16", "lr=0.003")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("variants")
    samples.store(made / "tiny.h5")
    samples.protocol_file(made)
    return made


def plan(folder: Path, model: str, **options: Any) -> FitPlan:
    with FeatureStore(folder / "tiny.h5") as store:
        return resolve(store, samples.config(folder, "run", model, **options))


def test_steps_or_epochs_but_not_both() -> None:
    both = ("audio", "text")
    assert with_settings(Config(), ["epochs=2"], both).total_steps(100) == 7
    assert with_settings(Config(steps=0, epochs=3), ["steps=9"], both).total_steps(100) == 9
    assert Config(steps=0, epochs=0.5, batch=32).total_steps(10) == 1
    with pytest.raises(UsageError, match="steps=5 and epochs=2: both given; give one of the two"):
        with_settings(Config(), ["steps=5", "epochs=2"], both)
    with pytest.raises(UsageError, match="neither given"):
        with_settings(Config(), ["steps=0", "epochs=0"], both)


def test_training_that_is_shorter_than_the_preset_is_recorded() -> None:
    steps, epochs = Config(steps=2500), Config(steps=0, epochs=50.0)
    assert shortened(Config(steps=50), steps, 64) == {"steps": 50, "preset": 2500, "option": "--steps"}
    assert shortened(replace(epochs, epochs=2.0), epochs, 64) == {"epochs": 2.0, "preset": 50.0, "option": "--epochs"}
    assert shortened(Config(steps=50), epochs, 64) == {"steps": 50, "preset": 100, "option": "--steps"}
    assert shortened(replace(epochs, epochs=2.0), steps, 64) == {"steps": 4, "preset": 2500, "option": "--epochs"}
    assert shortened(steps, steps, 64) == shortened(Config(steps=3000), steps, 64) == {}


def test_epochs_count_each_folds_own_training_side(folder: Path) -> None:
    out = samples.quietly(samples.config(folder, "epochs", "audio", steps=None, epochs=2, folds="1"))
    steps = [int(row["step"]) for row in samples.rows(out / "history.csv")]
    assert steps[-1] == 2 * 32 // 16  # two of four sessions of 16 utterances train
    found = json.loads((out / "metrics.json").read_text())
    assert found["short_training"] == {"steps": 4, "preset": 2500, "option": "--epochs"}
    assert "short training: 4 of the preset's 2500 steps (--epochs)" in caveats(found)


def test_an_ablation_sets_and_fixes_what_the_paper_says(folder: Path) -> None:
    found = plan(folder, "mmrbn", ablation="MMRBN_2", settings=TRANSFORMER)
    assert (found.model, found.ablation, found.title) == ("mmrbn", "MMRBN_2", "mmrbn (MMRBN_2)")
    assert (found.settings.audio_layers, found.settings.text_layers) == (2, 2)  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="--set text_layers: ablation 'MMRBN_2' has set it to 2"):
        plan(folder, "mmrbn", ablation="MMRBN_2", settings=(*TRANSFORMER, "text_layers=1"))


def test_an_ablation_of_one_modality_reads_that_one_alone(folder: Path) -> None:
    found = plan(folder, "mmrbn", ablation="TM_6", settings=TRANSFORMER)
    assert set(found.features) == {"text"}
    with pytest.raises(UsageError, match="--audio has no effect"):
        plan(folder, "mmrbn", ablation="TM_6", audio="logmel", settings=TRANSFORMER)


def test_an_ablation_that_is_another_model_is_the_same_run(folder: Path) -> None:
    mine, other = plan(folder, "smcn", ablation="Audio"), plan(folder, "audio")
    assert mine.identity() == other.identity()
    assert (mine.model, mine.ablation) == ("audio", None)


def test_an_unknown_ablation_lists_the_papers_own(folder: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"no ablation of mcfn named 'w/o DBA'\. Did you mean 'w/o DAB'"):
        plan(folder, "mcfn", ablation="w/o DBA")
    with pytest.raises(UnknownNameError, match=r"no ablation of audio named 'Cat'\. Valid: none"):
        plan(folder, "audio", ablation="Cat")


def test_a_short_run_keeps_every_class_in_every_fold() -> None:
    of, protocol = samples.utterances(), samples.protocol()
    some = stratified_sample(of, protocol, 32)
    assert len(some) == 32
    assert Counter((u.session, u.label) for u in some) == {(str(s), c): 2 for s in range(1, 5) for c in samples.CLASSES}
    assert some == stratified_sample(of, protocol, 32)
    assert [u for u in of if u in some] == list(some)
    assert stratified_sample(of, protocol, 1000) == of
    assert [len(side) for side in build_folds(protocol, some, "validation")[0].sides.values()] == [16, 8, 8]


def test_a_short_run_fills_up_evenly_what_small_cells_leave() -> None:
    of = tuple(u for i, u in enumerate(samples.utterances()) if u.label != "ang" or i % 16 == 0)
    counts = Counter(u.label for u in stratified_sample(of, samples.protocol(), 28))
    assert counts == {"ang": 4, "hap": 8, "neu": 8, "sad": 8}


def test_a_short_run_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished = fit(samples.config(folder, "short", "audio", steps=2, limit=32))
    printed = capsys.readouterr().out
    assert "short run: 32 utterances (--limit 32), spread over folds and classes" in printed
    assert "audio on tiny4, short run: 32 utterances (--limit)" in printed
    assert finished.metrics["limit"] == 32
    assert len(samples.rows(finished.folder / "predictions.csv")) == 32
    with pytest.raises(UsageError, match="--limit is too low"):
        plan(folder, "audio", limit=1)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 2])
def test_the_same_weights_are_scored_with_a_modality_absent(
    folder: Path, seeds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = samples.config(
        folder, f"without{seeds}", "msmser", steps=120, folds="1,2", seeds=seeds, score_without=("audio", "text"),
        report=True,
        settings=("width=16", "heads=2", "feedforward=32", "tokens=3", "batch=16", "lr=0.005"),
    )  # fmt: skip
    finished = fit(asked)
    assert "audio absent at inference, mean ± std" in capsys.readouterr().out
    # Text tells one bit of four classes alone, so without audio at most about half can be found, with it nearly all.
    without = finished.metrics["without"]
    assert finished.metrics["mean"]["ua"] > 0.8
    assert all(0.3 <= without[m]["mean"]["ua"] <= 0.65 for m in ("audio", "text"))
    if (finished.folder / "report.html").exists():
        assert "absent at inference" in (finished.folder / "report.html").read_text()
    assert json.loads((finished.folder / "config.json").read_text())["run"]["score_without"] == ["audio", "text"]


def test_a_model_that_needs_both_is_not_scored_without_one(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"--score-without text: model smcn needs all its modalities; .* msmser"):
        plan(folder, "smcn", score_without=("text",))
