"""A finished run in each tracker, read back with the tracker's own package; no tracker loses or changes a run."""

from __future__ import annotations

import csv
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import train_samples as samples
from train_samples import config, quietly

from emofuse.common.errors import UsageError
from emofuse.train import verify_run
from emofuse.train.api import fit
from emofuse.train.runs.finished_run import Run
from emofuse.train.tracking.registry import TRACKERS
from emofuse.train.tracking.track import track
from emofuse.train.tracking.tracked_run import tracked_run
from emofuse.train.tracking.wandb_tracker import COMPLETE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two seeds and two folds, limited, and one of one seed."""
    folder = tmp_path_factory.mktemp("tracking")
    samples.store(folder / "tiny.h5")
    samples.protocol_file(folder)
    quietly(config(folder, "seeds", "text", steps=10, folds="1,2", seeds=2, limit=48, report=True))
    quietly(config(folder, "one", "text", steps=10, folds="1,2", report=True))
    return folder


@pytest.fixture
def run(folder: Path) -> Run:
    return Run.open(folder / "seeds")


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")


def validation_ua(run: Run, seed: str, fold: str) -> list[tuple[int, float]]:
    with (run.folder / "history.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if (row["seed"], row["fold"]) == (seed, fold)]
    return [(int(row["step"]), float(row["validation_ua"])) for row in rows]


def lines_of(run: Run, name: str) -> list[str]:
    said: list[str] = []
    track(run, [name], said.append)
    return said


def test_what_is_tracked_has_every_fold_and_the_interval_of_each_score(run: Run, folder: Path) -> None:
    tracked = tracked_run(run)
    low, high = run.metrics["interval"]["ua"]
    assert (tracked.scores["pooled/ua_low"], tracked.scores["pooled/ua_high"]) == (low, high)
    assert tracked.scores["pooled/ua"] == run.metrics["pooled"]["ua"]
    assert {curve.name for curve in tracked.curves} == {f"seed_{s}/fold_{k}" for s in (0, 1) for k in (1, 2)}
    assert "seed_1/fold_2/ua" in tracked.scores
    assert tracked.config["settings.lr"] == 0.01
    assert tracked.config["features.text"] == "bert"
    assert any("short run" in caveat for caveat in tracked.caveats)
    assert {path.name for path in tracked.files} == {"report.html", "metrics.json", "config.json"}
    assert {curve.name for curve in tracked_run(Run.open(folder / "one")).curves} == {"fold_1", "fold_2"}


def test_tensorboard_has_curves_scores_and_caveats_once(run: Run) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):
        (line,) = lines_of(run, "tensorboard")
        assert line.startswith(f"tracked: tensorboard, {run.folder.parent / 'tensorboard' / 'seeds'}")
    place = run.folder.parent / "tensorboard" / "seeds"
    events = EventAccumulator(str(place / "seed_1" / "fold_2")).Reload()
    found = [(event.step, event.value) for event in events.Scalars("validation_ua")]
    assert found == [(step, pytest.approx(value)) for step, value in validation_ua(run, "1", "2")]
    whole = EventAccumulator(str(place)).Reload()
    (score,) = whole.Scalars("pooled/ua")
    assert score.value == pytest.approx(run.metrics["pooled"]["ua"])
    (caveats,) = whole.Tensors("caveats/text_summary")
    assert b"short run" in caveats.tensor_proto.string_val[0]


def test_mlflow_has_parameters_curves_scores_and_the_report_once(run: Run) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    (first,), (second,) = lines_of(run, "mlflow"), lines_of(run, "mlflow")
    assert first.startswith("tracked: mlflow, file:///")
    assert second.endswith("where it was already")
    client = MlflowClient(tracking_uri=(run.folder.parent / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("tiny4")
    assert experiment is not None
    (written,) = client.search_runs([experiment.experiment_id])
    assert (written.info.run_name, written.info.status) == ("seeds", "FINISHED")
    assert written.data.params["settings.lr"] == "0.01"
    assert written.data.metrics["pooled/ua"] == run.metrics["pooled"]["ua"]
    assert "short run" in written.data.tags["mlflow.note.content"]
    history = client.get_metric_history(written.info.run_id, "seed_1/fold_2/validation_ua")
    assert [(metric.step, metric.value) for metric in history] == validation_ua(run, "1", "2")
    artifacts = {file.path for file in client.list_artifacts(written.info.run_id)}
    assert artifacts == {"report.html", "metrics.json", "config.json"}


def wandb_records(path: Path) -> Iterator[Any]:
    """The records of a `.wandb` file: protobuf in LevelDB's log format."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, position, part, block = path.read_bytes(), 7, b"", 32768
    while position + 7 <= len(content):
        if block - position % block < 7:  # the rest of a block is filled with zeros
            position += block - position % block
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        part += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or its last part
            record = Record()
            record.ParseFromString(part)
            part = b""
            yield record


def settled_records(path: Path, seconds: float = 30) -> list[Any]:
    """The records, once the last one is there: wandb's own process may still be writing on a busy machine."""
    from google.protobuf.message import DecodeError

    end = time.monotonic() + seconds
    while True:
        try:
            records = list(wandb_records(path))
        except DecodeError:  # the last record is not whole yet
            records = []
        if any(record.WhichOneof("record_type") == "exit" for record in records) or time.monotonic() > end:
            return records
        time.sleep(0.1)


def test_wandb_has_config_curves_scores_and_the_report_once_and_offline(run: Run) -> None:
    pytest.importorskip("wandb")
    (first,), (second,) = lines_of(run, "wandb"), lines_of(run, "wandb")
    (place,) = (run.folder.parent / "wandb").glob("offline-run-*")
    assert first == f"tracked: wandb, {place}; upload it with: wandb sync {place}"
    assert second == f"tracked: wandb, {place}, where it was already"
    assert (place / "files" / "report.html").read_bytes() == (run.folder / "report.html").read_bytes()
    records = settled_records(next(place.glob("*.wandb")))
    (about,) = (record.run for record in records if record.WhichOneof("record_type") == "run")
    assert (about.project, about.display_name, about.run_group) == ("emofuse", "seeds", "tiny4")
    assert "short run" in about.notes
    assert {update.key: update.value_json for update in about.config.update}["settings.lr"] == "0.01"
    curve = []
    for record in records:
        if record.WhichOneof("record_type") == "history":
            values = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            curve.append((int(values["_step"]), float(values["seed_1/fold_2/validation_ua"])))
    assert curve == validation_ua(run, "1", "2")
    summary = {
        item.key or "/".join(item.nested_key): item.value_json
        for record in records
        if record.WhichOneof("record_type") == "summary"
        for item in record.summary.update
    }
    assert float(summary["pooled/ua"]) == run.metrics["pooled"]["ua"]
    (place / COMPLETE).unlink()  # as if it had been stopped
    (third,) = lines_of(run, "wandb")
    assert "upload it with" in third


def test_a_tracked_run_is_the_same_run_and_a_finished_one_can_be_added(folder: Path) -> None:
    pytest.importorskip("tensorboard")
    before = {path: path.read_bytes() for path in (folder / "one").rglob("*") if path.is_file()}
    said: list[str] = []
    options = config(folder, "one", "text", steps=10, folds="1,2", track="tensorboard", report=True)
    fit(options, say=said.append)
    assert said[-1].startswith("tracked: tensorboard")
    assert {path: path.read_bytes() for path in (folder / "one").rglob("*") if path.is_file()} == before
    assert verify_run(folder / "one").problems == ()


def test_a_missing_package_is_named_before_anything_is_trained(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    for name in ("wandb", "tensorboard"):
        for module in [m for m in sys.modules if m.partition(".")[0] == name]:
            monkeypatch.delitem(sys.modules, module)
    (tmp_path / "wandb").mkdir()  # as wandb leaves it in a folder of scripts
    options = config(folder, "untrained", "text", track=["wandb", "tensorboard"])
    with pytest.raises(UsageError) as raised:
        fit(options, say=lambda line: None)
    assert "--track wandb needs the package wandb: pip install 'emofuse[wandb]'" in str(raised.value)
    assert "pip install 'emofuse[tensorboard]'" in str(raised.value)
    assert not (folder / "untrained.part").exists()


def test_an_unknown_tracker_is_refused_with_the_known_ones(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"no tracker named 'tensorbord'. Did you mean 'tensorboard'\?"):
        fit(config(folder, "untrained", "text", track="tensorbord"), say=lambda line: None)


def test_a_tracker_that_fails_leaves_the_run_and_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "file" / "mlruns").as_uri())
    (line,) = lines_of(run, "mlflow")
    assert line.startswith("note: mlflow was not written (")
    assert "the run is complete" in line
    assert "\n" not in line


def test_every_tracker_says_what_it_is() -> None:
    assert [entry.name for entry in TRACKERS] == ["mlflow", "tensorboard", "wandb"]
    assert all(entry.description and entry.value.name == entry.name for entry in TRACKERS)
