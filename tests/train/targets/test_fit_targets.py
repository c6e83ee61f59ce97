"""Runs of every kind of target, from the store to each of their readers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import train_samples as samples

from emofuse.common.errors import UsageError
from emofuse.manifests.schema import Utterance
from emofuse.report.exploration.measure.collection import Collection
from emofuse.report.exploration.measure.run_errors import read_run
from emofuse.train import Run, compare, evaluate, export, fit
from emofuse.train.runs.verification.verify import verify_run

SCALE = "[dimensions]\nvalence = { low = 1, high = 5 }\narousal = { low = 1, high = 5 }\n"
TASKS = {
    "distribution": ('classes = ["ang", "hap", "neu", "sad"]\nmetrics = ["kl", "ua", "soft_macro_f1"]\n', ""),
    "multilabel": (
        'classes = ["low", "high", "ang", "hap", "neu", "sad"]\nlabel_field = "several"\n'
        'metrics = ["macro_f1", "map"]\n',
        "",
    ),
    "dimensions": ('metrics = ["ccc", "mae", "ccc_valence"]\n', SCALE),
    "classes+dimensions": ('classes = ["ang", "hap", "neu", "sad"]\nmetrics = ["ua", "ccc"]\n', SCALE),
}


def annotated() -> tuple[Utterance, ...]:
    """The small corpus with votes, several labels and ratings that follow from the class."""
    found, rng = [], np.random.default_rng(0)
    for n, u in enumerate(samples.utterances()):
        k = samples.CLASSES.index(str(u.label))
        votes = np.bincount([k, k, k, int(rng.integers(4)), int(rng.integers(4))], minlength=4)
        extra: dict[str, Any] = {
            "votes": " ".join(f"{c}:{v}" for c, v in zip(samples.CLASSES, votes, strict=True) if v),
            "several": f"{u.label},{'high' if k >> 1 else 'low'}",
            "valence": 2.0 + 2 * (k & 1) + 0.01 * (n % 7),
            "arousal": 2.0 + 2 * (k >> 1) + 0.01 * (n % 5),
        }
        found.append(replace(u, extra=extra))
    return tuple(found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("targets")
    samples.store(path / "tiny.h5", annotated())
    for kind, (task, tables) in TASKS.items():
        text = f'corpus = "tiny"\nsource = "made for the tests"\ntarget = "{kind}"\n{task}{tables}'
        (path / f"{kind}.toml").write_text(f'{text}\n[folds]\nby = "session"\ndisjoint = ["session", "speaker"]\n')
    return path


def fitted(folder: Path, kind: str, name: str = "", **options: Any) -> Run:
    asked = samples.config(folder, name or f"{kind}-run", **({"protocol": folder / f"{kind}.toml"} | options))
    return fit(asked, say=lambda line: None)


@pytest.fixture(scope="module")
def runs(folder: Path) -> dict[str, Run]:
    return {kind: fitted(folder, kind, steps=60, seeds=2, report=True) for kind in TASKS}


@pytest.mark.parametrize(
    ("kind", "metric", "good"),
    [("distribution", "ua", 0.9), ("multilabel", "macro_f1", 0.8), ("dimensions", "ccc", 0.6),
     ("classes+dimensions", "ccc", 0.5)],
)  # fmt: skip
def test_a_run_learns_its_target_and_its_files_agree(runs: dict[str, Run], kind: str, metric: str, good: float) -> None:
    run = runs[kind]
    assert run.metrics["target"]["kind"] == kind
    assert run.metrics["pooled"][metric] > good
    low, high = run.metrics["interval"][metric]
    assert low <= run.metrics["pooled"][metric] <= high
    assert verify_run(run.folder).problems == ()
    page = (run.folder / "report.html").read_text()
    assert ("confusion.png" in {p.name for p in run.folder.iterdir()}) == (
        kind in ("distribution", "classes+dimensions")
    )
    assert "An early version" not in page
    assert ('id="ratings"' in page) == ("dimensions" in kind)
    assert ('id="shares"' in page) == (kind == "distribution")


def test_the_columns_of_predictions(runs: dict[str, Run]) -> None:
    first = {kind: samples.rows(run.folder / "predictions.csv")[0] for kind, run in runs.items()}
    assert {"rated_valence", "predicted_arousal"} <= first["dimensions"].keys()
    assert "label" not in first["dimensions"]
    assert {"label", "p_ang", "rated_ang"} <= first["distribution"].keys()
    assert set(first["multilabel"]["label"].split(",")) == {"low", "ang"}
    assert {"label", "p_ang", "rated_valence", "predicted_valence"} <= first["classes+dimensions"].keys()


def test_kl_selects_its_lowest_value(runs: dict[str, Run]) -> None:
    folder = runs["distribution"].folder / "seed_0" / "fold_1"
    chosen = json.loads((folder / "selection.json").read_text())
    history = samples.rows(folder / "history.csv")
    assert chosen["validation"]["kl"] == pytest.approx(min(float(row["validation_kl"]) for row in history))


def test_the_threshold_is_chosen_on_validation(runs: dict[str, Run]) -> None:
    folder = runs["multilabel"].folder / "seed_0" / "fold_1"
    threshold = json.loads((folder / "selection.json").read_text())["validation"]["threshold"]
    for row in samples.rows(folder / "predictions.csv"):
        above = {c.removeprefix("p_") for c, v in row.items() if c.startswith("p_") and float(v) >= threshold}
        assert above == set(filter(None, row["prediction"].split(",")))


@pytest.mark.parametrize("kind", TASKS)
def test_altered_predictions_are_found(folder: Path, runs: dict[str, Run], kind: str) -> None:
    del runs
    copy = fitted(folder, kind, f"altered-{kind}", steps=20)
    path = copy.folder / "predictions.csv"
    header, first, rest = path.read_text().split("\n", 2)
    column = header.split(",").index({"dimensions": "predicted_valence"}.get(kind, "p_ang"))
    cells = first.split(",")
    cells[column] = "0.123456"
    path.write_text("\n".join([header, ",".join(cells), rest]))
    assert any("predictions" in problem for problem in verify_run(copy.folder).problems)


@pytest.mark.parametrize("kind", TASKS)
def test_runs_are_compared_by_the_metrics_of_their_target(folder: Path, runs: dict[str, Run], kind: str) -> None:
    worse = fitted(folder, kind, f"worse-{kind}", steps=1, seeds=2)
    lines: list[str] = []
    found = compare(runs=[runs[kind].folder, worse.folder], html=folder / f"{kind}.html", say=lines.append)
    metric = found.metrics[0]
    assert metric == runs[kind].metrics["metrics"][0]
    assert (found.pairs[0].differences[metric].value < 0) == (kind == "distribution")
    assert (found.pairs[0].mcnemar is None) == (kind in ("multilabel", "dimensions"))
    expected = runs[kind].metrics["pooled"][metric]
    assert found.runs[0].scores[metric] == pytest.approx(expected)
    assert (folder / f"{kind}.html").stat().st_size > 10_000


def test_ratings_alone_are_counted_as_outputs(folder: Path, recwarn: pytest.WarningsRecorder) -> None:
    """Without classes, no model of zero outputs is built, which PyTorch warns of."""
    fitted(folder, "dimensions", "linear-ratings", model="linear", steps=2, jobs=None)
    assert [str(warning.message) for warning in recwarn if "zero-element" in str(warning.message)] == []


def test_runs_of_other_targets_are_refused_in_one_line(runs: dict[str, Run]) -> None:
    with pytest.raises(UsageError, match=r"its target is classes\+dimensions, not dimensions$"):
        compare(runs=[runs["dimensions"].folder, runs["classes+dimensions"].folder], say=lambda line: None)


def test_an_ensemble_of_ratings_is_not_called_one_of_probabilities(folder: Path) -> None:
    lines: list[str] = []
    asked = samples.config(
        folder, "ratings-ensemble", protocol=folder / "dimensions.toml", steps=4, seeds=2, ensemble=True
    )
    fit(asked, say=lines.append)
    assert any(line.startswith("ensemble: mean predictions of 2 seeds, pooled: CCC") for line in lines)


@pytest.mark.parametrize("kind", TASKS)
def test_an_evaluation_on_the_same_corpus_gives_the_scores_of_the_run(
    folder: Path, runs: dict[str, Run], kind: str
) -> None:
    run = runs[kind]
    again = evaluate(
        run=run.folder, store=folder / "tiny.h5", out=folder / f"again-{kind}", device="cpu", say=lambda line: None
    )
    metric = run.metrics["metrics"][0]
    assert again.metrics["pooled"][metric] == pytest.approx(run.metrics["pooled"][metric], abs=0.02)


def test_another_corpus_may_have_other_names_but_not_other_scales(
    folder: Path, runs: dict[str, Run], tmp_path: Path
) -> None:
    def renamed(u: Utterance, n: int) -> Utterance:
        return replace(u, id=f"other_{u.id}", extra={"val": 9.0 if n == 0 else u.extra["valence"], "arousal": 2.0})

    others = tuple(renamed(u, n) for n, u in enumerate(annotated()))
    samples.store(tmp_path / "other.h5", others[1:], "other")
    samples.store(tmp_path / "wrong.h5", others, "other")
    text = (folder / "dimensions.toml").read_text().replace('"tiny"', '"other"')
    (tmp_path / "same.toml").write_text(text.replace("valence = { low", 'valence = { field = "val", low'))
    (tmp_path / "wider.toml").write_text(text.replace("high = 5", "high = 7"))

    def tested(name: str, protocol: str | None, store: str = "other.h5") -> Run:
        task = None if protocol is None else str(tmp_path / protocol)
        return evaluate(
            run=runs["dimensions"].folder,
            store=tmp_path / store,
            protocol=task,
            out=tmp_path / name,
            device="cpu",
            say=lambda line: None,
        )

    assert tested("same", "same.toml").metrics["pooled"]["ccc_valence"] > 0.3
    with pytest.raises(UsageError, match=r"valence 1 to 5.*protocol wider dimensions: ratings valence 1 to 7"):
        tested("wider", "wider.toml")
    with pytest.raises(UsageError, match=r"corpus other of .* has no protocol"):
        tested("none", None)
    with pytest.raises(UsageError, match="1 rating of valence outside its scale, 1 to 5: other_"):
        tested("wrong", "same.toml", "wrong.h5")
    assert not (tmp_path / "wrong").exists()


def test_an_export_of_ratings_names_the_command_that_predicts_them(runs: dict[str, Run], tmp_path: Path) -> None:
    run = runs["dimensions"].folder
    with pytest.raises(UsageError, match=f"emofuse predict --run {run} CLIPS"):
        export(run=run, format="card", out=tmp_path / "card", say=lambda line: None)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("dimensions", {"settings": ("focal=2",)}, "the focal loss is of one class"),
        ("dimensions", {"settings": ("loss=kl",)}, "valid: auto, ccc, mse, mae"),
        ("dimensions", {"settings": ("label_smoothing=0.1",)}, "without one class an utterance"),
        ("dimensions", {"class_weights": "balanced"}, "without classes"),
        ("multilabel", {"calibrate": "temperature"}, "a temperature"),
        ("multilabel", {"settings": ("rater_dropout=0.5",)}, "only a distribution has raters"),
        ("distribution", {"settings": ("ratings_weight=2",)}, "weighs ratings beside a class"),
        ("dimensions", {"metrics": "ua"}, "UA is not of the target dimensions"),
    ],
)
def test_what_cannot_be_combined_is_refused(folder: Path, kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        fitted(folder, kind, "refused", **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("distribution", {"settings": ("rater_dropout=0.5", "label_smoothing=0.1"), "class_weights": "balanced"}),
        ("multilabel", {"class_weights": "balanced", "settings": ("mixup=0.2",)}),
        ("dimensions", {"settings": ("loss=mse", "schedule=plateau", "patience=2")}),
        ("classes+dimensions", {"settings": ("ratings_weight=0.5", "focal=1", "balance=class")}),
        ("classes+dimensions", {"calibrate": "temperature", "model": "smcn", "audio": "logmel"}),
        ("distribution", {"model": "text", "final": True}),
    ],
)
def test_options_that_a_target_has(folder: Path, kind: str, options: dict[str, Any]) -> None:
    options = {**options, "settings": (*options.get("settings", ()), "hidden=8", "batch=16")}
    run = fitted(folder, kind, f"options-{kind}-{abs(hash(str(options)))}", folds="1", steps=10, **options)
    assert verify_run(run.folder).problems == ()


def test_a_dimension_that_no_utterance_has_is_named(folder: Path) -> None:
    text = (folder / "dimensions.toml").read_text().replace("arousal", "dominance")
    (folder / "absent.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        fitted(folder, "dimensions", "absent", protocol=folder / "absent.toml")
    assert "no utterance has 'dominance'" in str(caught.value)
    assert "valence" in str(caught.value)


def test_a_dimension_that_half_of_the_store_has_not_is_a_remark(folder: Path, tmp_path: Path) -> None:
    half = tuple(
        u if n % 2 else replace(u, extra={k: v for k, v in u.extra.items() if k != "valence"})
        for n, u in enumerate(annotated())
    )
    samples.store(tmp_path / "tiny.h5", half)
    lines: list[str] = []
    asked = samples.config(tmp_path, "half", protocol=folder / "dimensions.toml", folds="1", steps=5)
    fit(asked, say=lines.append)
    assert any("without valence and left out: 32 of 64 utterances" in line for line in lines)


def test_ratings_outside_the_scale_stop_the_fit(folder: Path, tmp_path: Path) -> None:
    odd = tuple(replace(u, extra={**u.extra, "valence": 50.0}) if n < 3 else u for n, u in enumerate(annotated()))
    samples.store(tmp_path / "tiny.h5", odd)
    with pytest.raises(UsageError) as caught:
        fit(samples.config(tmp_path, "odd", protocol=folder / "dimensions.toml"), say=lambda line: None)
    assert "3 ratings of valence outside its scale, 1 to 5" in str(caught.value)
    assert not (tmp_path / "odd").exists()


@pytest.mark.parametrize("kind", ["multilabel", "dimensions"])
def test_an_exploration_refuses_a_run_without_one_class_an_utterance(runs: dict[str, Run], kind: str) -> None:
    with pytest.raises(UsageError, match=f"predicts {kind}, and errors are counted of one class an utterance"):
        read_run(Collection(stores=(), entries=()), runs[kind].folder)
