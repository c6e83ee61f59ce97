"""The error of each dtype, against numbers computed by hand, and its effect on a score."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from store_samples import arrays, manifest
from train_samples import protocol_file
from train_samples import store as task_store

from emofuse.store import FeatureData, FeatureStore, write_store
from emofuse.store.commands.precision import print_precision
from emofuse.store.commands.store import store as command
from emofuse.store.inspect.storage_precision import FitScore, StorageError, storage_errors

M = manifest(8)


def measured(path: Path, values: dict[str, np.ndarray], dtype: str = "float32") -> dict[str, StorageError]:
    write_store(path, M, {"hubert": FeatureData(modality="audio", arrays=values, dtype=dtype)})
    with FeatureStore(path) as store:
        return {error.dtype: error for error in storage_errors(store.feature("hubert"))}


def test_storage_errors_follow_their_definition(tmp_path: Path) -> None:
    values = arrays(M, dimension=5)
    found = measured(tmp_path / "s.h5", values)
    flat = np.concatenate([*values.values()]).astype("f8")
    step = np.abs(flat).max(0) / 127
    stored = {"float16": flat.astype("f2").astype("f8"), "int8": np.rint(flat / step) * step}
    for dtype, back in stored.items():
        want = 10 * math.log10((flat**2).sum() / ((flat - back) ** 2).sum())
        assert found[dtype].decibels == pytest.approx(want, abs=0.01)
        assert found[dtype].largest == pytest.approx(np.abs(flat - back).max() / np.abs(flat).max(), rel=1e-3)
    assert (found["float32"].decibels, found["float32"].largest) == (None, 0.0)
    half, brain = found["float16"].decibels, found["bfloat16"].decibels
    assert half is not None
    assert brain is not None
    assert half > brain + 10
    assert [found[d].bytes for d in ("float32", "float16", "int8")] == [flat.size * 4, flat.size * 2, flat.size + 20]


def test_what_is_exact_and_what_does_not_fit(tmp_path: Path) -> None:
    values = {i: np.full((3, 2), 70_000.0 * 2**k, "f4") for k, i in enumerate(M.ids)}
    found = measured(tmp_path / "s.h5", values)
    assert not found["float16"].fits
    assert found["bfloat16"].fits
    result = CliRunner().invoke(command, ["info", str(tmp_path / "s.h5"), "--precision"])
    assert result.exit_code == 0, result.output
    assert "hubert has values that are too large for fp16" in result.output


def test_a_store_in_half_precision_says_what_is_not_known(tmp_path: Path) -> None:
    assert measured(tmp_path / "s.h5", arrays(M), "float16")["float16"].decibels is None
    result = CliRunner().invoke(command, ["info", str(tmp_path / "s.h5"), "--precision"])
    assert "hubert is stored as fp16: what was lost against fp32 is not known" in result.output


@pytest.mark.slow
def test_the_difference_to_a_score(tmp_path: Path) -> None:
    path, protocol = task_store(tmp_path / "tiny.h5"), protocol_file(tmp_path)
    options = f"--model concat --audio logmel --protocol {protocol} --steps 15 --folds 1,2 --seeds 2 --threads 1"
    result = CliRunner().invoke(command, ["info", str(path), "--precision", "--fit", options, "--json"])
    assert result.exit_code == 0, result.output
    scores = {s["dtype"]: s for s in json.loads(result.stdout)["precision"]["scores"]}
    assert [*scores] == ["float32", "float16", "bfloat16", "int8"]
    first = scores["float32"]
    assert (first["difference"], first["spread"], len(first["folds"])) == (0.0, 0.0, 4)
    for score in scores.values():
        assert 0 <= score["mean"] <= 1
        apart = np.subtract(score["folds"], first["folds"])
        assert score["difference"] == pytest.approx(apart.mean())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny.h5", "tiny4.toml"], "copies and runs are gone"


@pytest.mark.slow
def test_the_difference_to_a_score_of_one_fold(tmp_path: Path) -> None:
    path, protocol = task_store(tmp_path / "tiny.h5"), protocol_file(tmp_path)
    options = f"--model concat --audio logmel --protocol {protocol} --steps 5 --folds 1 --threads 1"
    result = CliRunner().invoke(command, ["info", str(path), "--precision", "--fit", options])
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.split("fold by fold\n")[1].splitlines()]
    assert [len(row) for row in rows] == [3, 3, 3, 3], "no deviation of one score"
    assert rows[0][2] == "+0.0000"


def test_one_fold_has_no_deviation(capsys: pytest.CaptureFixture[str]) -> None:
    one = FitScore(dtype="float16", metric="ua", mean=0.5, deviation=None, folds=(0.5,), difference=-0.25, spread=None)
    several = replace(one, dtype="int8", deviation=0.125, spread=0.0625)
    print_precision({"losses": [], "fit": "--folds 1", "scores": [asdict(one), asdict(several)]})
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["fp16", "0.5000", "-0.2500"] in rows
    assert ["int8", "0.5000", "±", "0.1250", "-0.2500", "±", "0.0625"] in rows


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--model concat --store other.h5", "contains --store:"),
        ("--out=here --model concat --store=other.h5", "contains --store and --out:"),
        ("--model 'concat", "is not a valid list of options: No closing quotation"),
    ],
)
def test_a_fit_of_another_store_is_refused_before_anything_runs(tmp_path: Path, options: str, message: str) -> None:
    result = CliRunner().invoke(command, ["info", str(task_store(tmp_path / "t.h5")), "--precision", "--fit", options])
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


@pytest.mark.slow
def test_a_fit_that_fails_says_why(tmp_path: Path) -> None:
    path = task_store(tmp_path / "tiny.h5")
    result = CliRunner().invoke(command, ["info", str(path), "--precision", "--fit", "--model smnc"])
    assert result.exit_code == 2
    assert "smcn" in result.output
    alone = CliRunner().invoke(command, ["info", str(path), "--fit", "--model smcn"])
    assert (alone.exit_code, "give both" in alone.output) == (2, True)
