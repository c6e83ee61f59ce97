"""A temperature for every registered model: fitted on validation only, and without effect on predictions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import train_samples as samples
from train_samples import config, quietly, rows

from emofuse.common.errors import DataError, UsageError
from emofuse.manifests.metrics.calibration import calibration, fit_temperature, with_temperature
from emofuse.train.api import fit
from emofuse.train.data.loader import Loader
from emofuse.train.fitting.fold import side_indices
from emofuse.train.fitting.scoring import calibrate
from emofuse.train.models.registry import MODELS
from emofuse.train.resolve.config import FitConfig
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.fit_context import resolved
from emofuse.train.runs.trained_models import mean_values, trained_models
from emofuse.train.runs.verification.verify import verify_run

INDEX = {c: i for i, c in enumerate(samples.CLASSES)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("calibrate")
    samples.store(made / "tiny.h5")
    samples.protocol_file(made)
    return made


def calibrated(folder: Path, name: str, model: str, **options: object) -> FitConfig:
    return config(folder, name, model, **({"calibrate": "temperature", "folds": "1", "steps": 6} | options))


@pytest.mark.parametrize("model", MODELS.names())
def test_every_model_is_calibrated_on_validation(folder: Path, model: str) -> None:
    spec = MODELS[model]
    sizes = vars_of(spec.preset("tiny"))
    settings = [f"{name}={samples.SMALL[name]}" for name in samples.SMALL if name in sizes]
    features = {m: "hubert" if spec.layered else {"audio": "logmel", "text": "bert"}[m] for m in spec.modalities}
    if spec.needs == "one":
        features = {"audio": features["audio"]}
    asked = calibrated(folder, model, model, settings=(*settings, "batch=16"), **features)
    run = Run.open(quietly(asked))
    (trained,) = trained_models(run)
    with resolved(asked) as plan:
        _, validation, test = side_indices(plan, plan.folds[0]).values()
        data = Loader(plan).task_data(plan.folds[0])
        on_validation = trained.values(data, validation)[0]
        mean = mean_values([trained], data, test, calibrated=True)[1]
    assert trained.temperature == fit_temperature(plan.labels[validation], on_validation)
    written = rows(run.folder / "predictions.csv")
    own, scaled = (np.array([[float(r[f"{p}p_{c}"]) for c in INDEX] for r in written]) for p in ("", "calibrated_"))
    assert np.abs(scaled - with_temperature(own, trained.temperature)).max() < 1e-4
    assert np.abs(scaled - mean).max() < 1e-5
    assert all(r["prediction"] == samples.CLASSES[p.argmax()] for r, p in zip(written, scaled, strict=True))


def vars_of(preset: object) -> set[str]:
    return set(getattr(preset, "__dataclass_fields__", {}))


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return fit(calibrated(folder, "run", "text", steps=30, folds="1,2", seeds=2), say=lambda line: None)


def test_the_run_says_how_calibrated_it_is_before_and_after(run: Run, folder: Path) -> None:
    seed = Run.open(run.folder / "seed_1")
    found, written = seed.metrics["calibration"], rows(seed.folder / "predictions.csv")
    labels = np.array([INDEX[r["label"]] for r in written])
    for prefix, errors in (("p_", found), ("calibrated_p_", found["calibrated"])):
        expected = calibration(labels, np.array([[float(r[f"{prefix}{c}"]) for c in INDEX] for r in written]))
        assert {name: errors[name] for name in expected} == expected
    stored = {n: json.loads((seed.folder / f"fold_{n}" / "calibration.json").read_text()) for n in ("1", "2")}
    assert found["temperature"] == {n: content["temperature"] for n, content in stored.items()}
    assert stored["1"]["fitted_on"] == "validation"
    assert run.metrics["calibration"]["calibrated"]["ece"] > 0
    records = run.predictions if isinstance(run.predictions, list) else run.predictions.to_dict("records")
    assert isinstance(records[0]["calibrated_p_ang"], float)
    lines: list[str] = []
    fit(calibrated(folder, "run", "text", steps=30, folds="1,2", seeds=2), say=lines.append)
    assert any(line.startswith("with the temperature fitted on validation: ECE ") for line in lines)


def test_nothing_but_the_calibration_differs_from_a_run_without(run: Run, folder: Path) -> None:
    plain = quietly(config(folder, "plain", "text", steps=30, folds="1,2", seeds=2))
    kept = list(rows(plain / "predictions.csv")[0])
    assert not any(k.startswith("calibrated_") for k in kept)
    assert rows(plain / "predictions.csv") == [{k: r[k] for k in kept} for r in rows(run.folder / "predictions.csv")]
    assert "calibrated" not in Run.open(plain).metrics["calibration"]
    assert all(model.temperature == 1.0 for model in trained_models(Run.open(plain)))


def test_without_validation_it_is_refused_with_the_reason(folder: Path) -> None:
    with pytest.raises(UsageError, match="fits on the validation side, and with --select last there is none"):
        quietly(calibrated(folder, "last", "text", select="last"))


def test_only_calibrated_runs_have_another_identity(folder: Path) -> None:
    for asked, expected in ((config(folder, "x", "text"), None), (calibrated(folder, "x", "text"), "temperature")):
        with resolved(asked) as plan:
            assert plan.identity().get("calibrate") == expected
            assert "metrics" not in plan.identity()


def test_the_temperature_is_written_before_test_is_scored_and_not_fitted_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(labels: object, probabilities: object) -> float:
        assert (folder / "stopped.part" / "fold_1" / "selection.json").exists()
        assert not (folder / "stopped.part" / "fold_1" / "result.json").exists()
        raise KeyboardInterrupt

    asked = calibrated(folder, "stopped", "text")
    with monkeypatch.context() as patch:
        patch.setattr(calibrate, "fit_temperature", stop)
        with pytest.raises(KeyboardInterrupt):
            quietly(asked)
    resumed = quietly(asked)
    whole = quietly(calibrated(folder, "whole", "text"))
    assert rows(resumed / "predictions.csv") == rows(whole / "predictions.csv")
    with resolved(asked) as plan:
        data = Loader(plan).task_data(plan.folds[0])
        (resumed / "fold_1" / "calibration.json").unlink()
        with pytest.raises(RuntimeError, match="scored already"):
            calibrate.calibrate(resumed / "fold_1", plan.protocol.target, data, np.arange(3))


@pytest.mark.parametrize("content", ["{}", "[]", '{"temperature": "hot"}', '{"temperature": NaN}', "{"])
def test_a_damaged_temperature_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "calibration.json").write_text(content)
    with pytest.raises(DataError, match=r"calibration\.json"):
        calibrate.stored_temperature(tmp_path)


def test_a_calibrated_run_verifies_and_an_altered_temperature_is_named(folder: Path) -> None:
    run = quietly(calibrated(folder, "altered", "text"))
    assert verify_run(run).problems == ()
    path = run / "fold_1" / "calibration.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"temperature": 2.0}))
    assert any("fold_1/calibration.json" in problem for problem in verify_run(run).problems)
