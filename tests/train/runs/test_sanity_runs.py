"""`fit --shuffle`: what is shuffled says nothing any more, and every output says that it was shuffled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import train_samples as samples
from train_samples import config, quietly

from emofuse.common.errors import UsageError
from emofuse.train.api import fit
from emofuse.train.runs.finished_run import Run

CHANCE, ONE_BIT = 0.25, 0.5
"""The UA of four equal classes by guessing, and by knowing one of their two bits."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sanity")
    samples.store(made / "tiny.h5", samples.utterances(per_session=48))
    samples.protocol_file(made)
    return made


def shuffled(folder: Path, name: str, *what: Any, **options: Any) -> Run:
    options = {"steps": 150, "audio": "logmel", "text": "bert"} | options
    return fit(config(folder, name, "linear", shuffle=what, **options), say=lambda line: None)


def test_scores_fall_to_chance_and_to_the_other_modality(folder: Path) -> None:
    """Of 192 utterances the standard error of a score is 0.036 at most."""
    assert shuffled(folder, "plain").metrics["pooled"]["ua"] > 0.9
    assert shuffled(folder, "labels", "labels").metrics["pooled"]["ua"] == pytest.approx(CHANCE, abs=0.11)
    assert shuffled(folder, "audio", "audio").metrics["pooled"]["ua"] == pytest.approx(ONE_BIT, abs=0.11)
    assert shuffled(folder, "text", "text").metrics["pooled"]["ua"] == pytest.approx(ONE_BIT, abs=0.11)
    assert shuffled(folder, "both", "audio", "text").metrics["pooled"]["ua"] == pytest.approx(CHANCE, abs=0.11)


def test_a_dealt_modality_leaves_what_the_other_one_says(folder: Path) -> None:
    run = shuffled(folder, "audio", "audio")
    text_bit = [
        samples.CLASSES.index(r["label"]) >> 1 == samples.CLASSES.index(r["prediction"]) >> 1
        for r in samples.rows(run.folder / "predictions.csv")
    ]
    assert sum(text_bit) / len(text_bit) > 0.95


def test_every_output_says_that_it_is_a_sanity_run(folder: Path) -> None:
    lines: list[str] = []
    asked = config(folder, "marked", "text", steps=2, folds="1,2", shuffle="labels", seeds=2, report=True)
    run = fit(asked, say=lines.append)
    mark = "anity run, not a result: labels of training and validation permuted"
    assert run.metrics["shuffled"] == ["labels"]
    assert mark in "\n".join(lines)
    assert mark in (run.folder / "report.html").read_text()
    assert run.config["run"]["shuffle"] == ["labels"]
    with pytest.raises(UsageError, match="is a run with different shuffle"):
        fit(replace(asked, shuffle=()), say=lambda line: None)


def test_a_run_without_it_has_the_identity_of_earlier_versions(folder: Path) -> None:
    assert "shuffle" not in Run.open(quietly(config(folder, "old", "text", steps=2, folds="1"))).config["run"]


def test_the_order_and_repetition_of_what_is_shuffled_do_not_matter(folder: Path) -> None:
    one, two = (config(folder, "x", shuffle=what) for what in (("text", "labels", "text"), ("labels", "text")))
    assert one == two


@pytest.mark.slow
def test_processes_give_the_numbers_of_one_process(folder: Path) -> None:
    options: dict[str, Any] = {"shuffle": ("audio", "labels"), "steps": 10, "folds": "1,2", "threads": 1}
    one, two = (quietly(config(folder, f"jobs{jobs}", jobs=jobs, **options)) for jobs in (1, 2))
    assert (one / "predictions.csv").read_bytes() == (two / "predictions.csv").read_bytes()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"model": "text", "shuffle": "audio"}, "--shuffle audio has no effect: the model uses text only"),
        ({"model": "text", "shuffle": "labels", "final": True}, "--final is for use, and --shuffle"),
    ],
)
def test_what_makes_no_sense_is_refused(folder: Path, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        quietly(config(folder, "wrong", **options))
