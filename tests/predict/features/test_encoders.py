"""The encoders of a run, built again: layers, views, folds, weights that are elsewhere, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import finetune_samples
import predict_samples as samples
import pytest
import tiny_speech_models
import tiny_text_models

from emofuse.common.errors import UsageError
from emofuse.extract import extract
from emofuse.train import Run, fit

pytestmark = pytest.mark.slow
SAME = 1e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus, with features of two tiny transformers in its store."""
    folder = samples.corpus(tmp_path_factory.mktemp("encoders"))
    tiny_speech_models.save(folder / "hubert", "hubert")
    tiny_text_models.declare_pooling(
        tiny_text_models.save(folder / "bert", "bert"), {"pooling_mode": "cls"}, "Normalize"
    )
    for options in (
        {"encoders": "hubert", "weights": str(folder / "hubert"), "layers": "all"},
        {"encoders": "hubert", "weights": str(folder / "hubert"), "views": "frames,mean", "name": "last"},
        {"encoders": "bert", "weights": str(folder / "bert"), "layers": "1,2", "name": "two", "dtype": "fp32"},
        {"encoders": "bert", "weights": str(folder / "bert"), "name": "bert", "views": "frames,last,pooled"},
    ):
        given: Any = {"dataset": "synthetic", "root": folder / "corpus", "store": folder / "store.h5", **options}
        extract(**given, device="cpu", quiet=True, say=samples.quiet).close()
    return folder


def assert_same_as_scored(run: Run, inputs: Path, **options: Any) -> None:
    found = samples.by_id(samples.asked(run, inputs=inputs, fold=1, **options))
    for id, probabilities in samples.scored(run, 1).items():
        assert found[id].probabilities == pytest.approx(probabilities, abs=SAME)


@pytest.mark.parametrize(
    ("model", "features"),
    [
        ("weighted-layers", {"audio": "hubert"}),
        ("weighted-layers", {"audio": "last-mean"}),
        ("audio", {"audio": "last"}),
        ("weighted-layers", {"audio": None, "text": "two"}),
        ("concat", {"audio": "last", "text": "bert"}),
        ("text", {"audio": None, "text": "bert-last"}),
        ("text", {"audio": None, "text": "bert-pooled"}),
    ],
)
def test_layers_views_and_types_are_those_of_the_run(folder: Path, model: str, features: dict[str, Any]) -> None:
    name = "-".join([model, *(str(f) for f in features.values())])
    run = samples.run(folder, name, model, folds=[1], **{"text": None, **features})
    assert_same_as_scored(run, folder / "corpus" / "synthetic.csv")


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return samples.run(folder, "run", "audio", audio="last", folds=[1])


def test_weights_that_were_moved_are_named_and_found_again(folder: Path, run: Run, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(folder / "hubert", moved)
    (folder / "hubert").rename(folder / "away")
    clip = sorted((folder / "corpus" / "wav").glob("*.wav"))[0]
    try:
        with pytest.raises(UsageError) as caught:
            samples.asked(run, inputs=clip)
        assert "expected a folder that exists" in str(caught.value)
        assert "needed: encoder hubert; weights " in str(caught.value)
        assert "--weights audio=FOLDER" in str(caught.value)
        assert len(samples.asked(run, inputs=clip, weights=str(moved)).rows) == 1
        assert len(samples.asked(run, inputs=clip, weights=f"audio={moved}").rows) == 1
    finally:
        (folder / "away").rename(folder / "hubert")


def test_other_weights_are_refused_with_both_digests(folder: Path, run: Run, tmp_path: Path) -> None:
    other = tiny_speech_models.save(tmp_path / "other", "hubert", seed=1)
    recorded = run.config["run"]["features"]["audio"]["fingerprint"]["weights"]
    with pytest.raises(UsageError, match=f'weights: the run has "{recorded}", here it is "[0-9a-f]+"'):
        samples.asked(run, inputs=folder / "corpus" / "wav", weights=str(other))


def test_weights_without_an_encoder_have_no_effect(folder: Path, run: Run) -> None:
    with pytest.raises(UsageError, match="no text encoder of the run has weights"):
        samples.asked(run, inputs=folder / "corpus" / "wav", weights="text=bert")
    both = samples.run(folder, "both", "concat", audio="last", text="bert", folds=[1])
    with pytest.raises(UsageError, match="pass audio=x or text=x"):
        samples.asked(both, inputs=folder / "corpus" / "synthetic.csv", weights="x")


def test_each_fold_asks_the_encoder_that_was_fine_tuned_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finetune_samples.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    tuned = finetune_samples.finetune(tmp_path, "--epochs", "1", "--out", tmp_path / "tuned")
    assert tuned.exit_code == 0, tuned.output
    extracted = finetune_samples.extract(tmp_path, "--weights", tmp_path / "tuned")
    assert extracted.exit_code == 0, extracted.output
    run = fit(
        store=tmp_path / "own.h5",
        model="text",
        text="bert-finetuned",
        protocol=tmp_path / "own3.toml",
        steps=6,
        settings={"hidden": 8},
        device="cpu",
        out=tmp_path / "run",
        say=samples.quiet,
    )
    for fold in (1, 2, 3):
        found = samples.by_id(samples.asked(run, inputs=tmp_path / "own" / "own.csv", fold=fold))
        for id, probabilities in samples.scored(run, fold).items():
            assert found[id].probabilities == pytest.approx(probabilities, abs=SAME)
    assert samples.asked(run, text="happy no").rows[0].models == 3
    (tmp_path / "tuned").rename(tmp_path / "moved")
    assert samples.asked(run, text="happy no", weights=str(tmp_path / "moved")).rows[0].models == 3
