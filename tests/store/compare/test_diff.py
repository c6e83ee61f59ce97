"""`emofuse store diff`: it finds every kind of difference, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from inspect_samples import flip, partial_store
from store_samples import arrays, manifest

from emofuse.manifests.schema import Excluded, Manifest
from emofuse.store import FeatureData, FeatureStore, write_store
from emofuse.store.commands.store import store as command
from emofuse.store.compare.diff_values import largest_difference, relative_difference

M = manifest()
Changes = Mapping[str, Any]


def store(path: Path, of: Manifest = M, *, edit: Mapping[str, np.ndarray] | None = None, **changes: Any) -> Path:
    values = {**arrays(of), **(edit or {})}
    data = FeatureData(modality="audio", arrays=values, **{"fingerprint": {"w": {"digest": 1, "layer": 12}}, **changes})
    write_store(path, of, {"hubert": data})
    return path


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return store(tmp_path / "a.h5")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, ["diff", *map(str, arguments)])


def edited(**fields: Any) -> Manifest:
    """The manifest with two rows changed."""
    return replace(M, utterances=tuple(replace(u, **fields) if u.id in ("u002", "u005") else u for u in M.utterances))


def test_the_same_is_the_same(a: Path, tmp_path: Path) -> None:
    b = store(tmp_path / "b.h5", provenance={"machine": "another"})
    result = run(a, b, "--values")
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        f"{a} (A) and {b} (B) hold the same\nmanifest: the same\nfeature hubert: the same\n"
        '  remark: provenance machine: A null, B "another"\n'
    )
    assert json.loads(run(a, b, "--json").stdout)["same"] is True


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (replace(M, corpus="big", reader="big-2"), ['corpus: A "tiny", B "big"', 'reader: A "tiny-1", B "big-2"']),
        (manifest(10), ["utterances only in A: 2: u010, u011"]),
        (manifest(14), ["utterances only in B: 2: u012, u013"]),
        (edited(label="ang"), ["rows that differ: 2", "label 2: u002 'sad' | 'ang'; u005 'hap' | 'ang'"]),
        (edited(seconds=1.0, split="dev"), ["rows that differ: 2", "seconds 2: u002 2.5 | 1.0", "split 2: u002 None"]),
        (edited(extra={"valence": 1}), ["extra 2: u002 {'scenario': 'improvised', 'valence': 2.5} | {'valence': 1};"]),
        (
            replace(M, excluded=(Excluded(id="y", reason="no clip", modality="audio"),)),
            ["excluded only in A: 1: x: no label", "excluded only in B: 1: y (audio): no clip"],
        ),
        (replace(M, utterances=M.utterances[::-1]), ["the utterances are in another order"]),
    ],
)
def test_manifests_that_differ(a: Path, tmp_path: Path, other: Manifest, expected: list[str]) -> None:
    result = run(a, store(tmp_path / "b.h5", other))
    assert result.exit_code == 1
    for line in expected:
        assert f"  {line}" in result.stdout
    assert "fingerprint" not in result.stdout
    assert "values differ" not in result.stdout


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"fingerprint": {"w": {"digest": 2, "layer": 12}}}, "fingerprint w.digest: A 1, B 2"),
        ({"fingerprint": {"w": {"digest": 1}}}, "fingerprint w.layer: A 12, B null"),
        ({"frame_rate": 50.0}, "frame_rate: A null, B 50.0"),
        ({"encoder": "hubert"}, 'encoder: A "imported", B "hubert"'),
        ({"dtype": "float32"}, 'dtype: A "float16", B "float32"'),
    ],
)
def test_features_that_differ(a: Path, tmp_path: Path, changes: Changes, line: str) -> None:
    result = run(a, store(tmp_path / "b.h5", **changes))
    assert result.exit_code == 1
    assert "manifest: the same\nfeature hubert\n" in result.stdout
    assert f"  {line}\n" in result.stdout


def test_what_the_encoders_were_fitted_on_is_a_difference(a: Path, tmp_path: Path) -> None:
    fitted = [{"corpus": "tiny", "labels": True, "sessions": ["1"]}]
    b = store(tmp_path / "b.h5", provenance={"fitted_on": fitted, "machine": "another"})
    result = run(a, b)
    assert result.exit_code == 1
    assert "feature hubert\n  fitted on: A no labels; B tiny, session 1\n" in result.stdout
    assert "remark: provenance machine" in result.stdout
    assert "provenance fitted_on" not in result.stdout
    found = json.loads(run(a, b, "--json").stdout)
    assert (found["same"], found["features"][0]["fitted_on"]) == (False, ["A no labels; B tiny, session 1"])
    again = [{"corpus": "Tiny", "sessions": ["1"]}]
    assert run(b, store(tmp_path / "c.h5", provenance={"fitted_on": again})).exit_code == 0, "it means the same"
    assert run(a, store(tmp_path / "d.h5", provenance={"fitted_on": []})).exit_code == 0, "and so does silence"


def test_features_of_different_shapes_are_not_compared(a: Path, tmp_path: Path) -> None:
    deep = store(tmp_path / "b.h5", edit=arrays(M, layers=2), layers=(1, 2))
    result = run(a, deep, "--values")
    assert result.exit_code == 1
    assert "  layers: A [], B [1, 2]\n" in result.stdout
    wide = store(tmp_path / "c.h5", edit=arrays(M, dimension=7))
    result = run(a, wide, "--values")
    assert "  dimension: A 6, B 7\n" in result.stdout
    assert "remark: values were not compared: the frames have different shapes" in result.stdout


def test_features_in_one_store_only(a: Path, tmp_path: Path) -> None:
    b = store(tmp_path / "b.h5")
    write_store(b, M, {"bert": FeatureData(modality="text", arrays=arrays(M))})
    assert (run(a, b).exit_code, run(b, a).exit_code) == (1, 1)
    assert "feature bert: only in B\n" in run(a, b).stdout
    assert "feature bert: only in A\n" in run(b, a).stdout


def test_utterances_and_lengths_of_a_feature(a: Path, tmp_path: Path) -> None:
    values = arrays(M)
    longer = {"u004": np.concatenate([values["u004"], values["u004"]])}
    b = tmp_path / "b.h5"
    write_store(
        b,
        M,
        {
            "hubert": FeatureData(
                modality="audio",
                arrays={k: v for k, v in {**values, **longer}.items() if k != "u001"},
                fingerprint={"w": {"digest": 1, "layer": 12}},
            )
        },
    )
    result = run(a, b, "--values")
    assert result.exit_code == 1
    assert "  utterances only in A: 1: u001\n" in result.stdout
    assert "  different numbers of frames: 1: u004\n" in result.stdout
    assert "values differ" not in result.stdout


def test_a_value_that_differs_is_found_measured_and_named(a: Path, tmp_path: Path) -> None:
    values = arrays(M)["u007"].astype(np.float16)
    largest = float(np.abs(values.astype(np.float32)).max())
    other = values.copy()
    other[0, 0] += np.float16(0.5)
    b = store(tmp_path / "b.h5", edit={"u007": other})
    result = run(a, b)
    assert result.exit_code == 1
    assert "  values differ: 1: u007\n" in result.stdout
    assert "largest" not in result.stdout
    apart = abs(float(other[0, 0]) - float(values[0, 0])) / largest
    result = run(a, b, "--values")
    assert f"values of 1 utterance read: largest relative difference {apart:.3g}, in u007" in result.stdout
    found = json.loads(run(a, b, "--values", "--json").stdout)["features"][0]["largest"]
    assert (found["utterance"], found["compared"]) == ("u007", 1)
    assert found["difference"] == pytest.approx(apart, rel=1e-6)


def test_other_types_are_compared_by_what_they_decode_to(a: Path, tmp_path: Path) -> None:
    b = store(tmp_path / "b.h5", dtype="float32")
    assert "remark: values were not compared: --values does that" in run(a, b).stdout
    found = json.loads(run(a, b, "--values", "--json").stdout)
    largest = found["features"][0]["largest"]
    assert found["same"] is False
    assert largest["compared"] == 12
    assert 0 < largest["difference"] < 2**-11, "half a step of float16"
    half, full = (arrays(M)[largest["utterance"]].astype(t).astype(np.float64) for t in ("f2", "f4"))
    assert largest["difference"] == pytest.approx(np.abs(half - full).max() / np.abs(half).max(), rel=1e-5)
    assert CliRunner().invoke(command, ["copy", str(a), str(tmp_path / "c.h5"), "--dtype", "int8"]).exit_code == 0
    result = run(a, tmp_path / "c.h5", "--values")
    assert 'dtype: A "float16", B "int8"' in result.stdout
    assert "values of 12 utterances read" in result.stdout


def test_lists_are_counted_and_cut_at_ten(tmp_path: Path) -> None:
    a, b = store(tmp_path / "a.h5", manifest(25)), store(tmp_path / "b.h5", manifest(2))
    result = run(a, b).stdout
    assert "utterances only in A: 23: u002, u003," in result
    assert "u011, ... and 13 more\n" in result
    assert "u012" not in result
    found = json.loads(run(a, b, "--json").stdout)["manifest"]["only_a"]
    assert (found["count"], len(found["first"])) == (23, 10)


def test_a_copy_without_texts_differs_in_that_alone(a: Path, tmp_path: Path) -> None:
    assert CliRunner().invoke(command, ["copy", str(a), str(tmp_path / "b.h5"), "--no-text"]).exit_code == 0
    result = run(a, tmp_path / "b.h5")
    assert result.exit_code == 1
    assert "manifest\n  B has no texts\nfeature hubert: the same\n" in result.stdout


def test_what_was_computed_from_other_audio(a: Path, tmp_path: Path) -> None:
    result = run(a, store(tmp_path / "b.h5", edited(audio_digest="f" * 32)))
    assert "  from different audio or text: 2: u002, u005\n" in result.stdout


def test_a_partial_store_counts_what_is_written(tmp_path: Path) -> None:
    with partial_store(tmp_path / "a.h5", "wavlm", 12), partial_store(tmp_path / "b.h5", "wavlm", 9):
        result = run(tmp_path / "a.h5.wavlm.part", tmp_path / "b.h5.wavlm.part")
    assert result.exit_code == 1
    assert "utterances only in A: 3: u009, u010, u011" in result.stdout
    assert "remark: B is not complete" in result.stdout


def test_wrong_use_and_damage_have_their_exit_codes(a: Path, tmp_path: Path) -> None:
    assert run(a, tmp_path / "none.h5").exit_code == 2
    b = store(tmp_path / "b.h5", dtype="float32")
    flip(b, "hubert", "u003")
    assert run(a, b).exit_code == 1, "the values were not to be read"
    result = run(a, b, "--values")
    assert result.exit_code == 3
    assert "u003 first" in result.stderr


def test_relative_differences_of_odd_values() -> None:
    zeros, ones = np.zeros((2, 3), "f2"), np.ones((2, 3), "f4")
    assert relative_difference(zeros, zeros) == 0
    assert (relative_difference(zeros, ones), relative_difference(ones, zeros)) == (1, 1)
    broken = np.array([[np.nan, np.inf, 1.0]], "f4")
    assert relative_difference(broken, broken) == 0
    assert relative_difference(broken, np.zeros((1, 3), "f4")) == float("inf")
    assert relative_difference(np.zeros((1, 3), "f4"), broken) == float("inf")


def test_the_scale_of_a_relative_difference() -> None:
    """The largest value of the first feature; of the second where the first is all zeros."""
    zeros, twos, sixes = (np.full((2, 3), value, "f4") for value in (0, 2, 6))
    assert relative_difference(twos, sixes) == 2
    assert relative_difference(sixes, twos) == pytest.approx(2 / 3)
    assert relative_difference(zeros, sixes) == 1, "max|y|, not a constant"
    both_infinite = (np.array([[np.inf, 1.0]], "f4"), np.array([[np.inf, 2.0]], "f4"))
    assert relative_difference(*both_infinite) == float("inf"), "no finite scale"


def test_the_largest_difference_does_not_depend_on_how_much_is_read_at_once(a: Path, tmp_path: Path) -> None:
    with FeatureStore(a) as one, FeatureStore(store(tmp_path / "b.h5", dtype="float32")) as other:
        x, y = one.feature("hubert"), other.feature("hubert")
        found = {largest_difference(x, y, M.ids, count) for count in (1, 500, 1 << 25)}
    assert len(found) == 1
