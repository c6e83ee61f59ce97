"""What is resampled, how a run folder is claimed, and how tables of several seeds and missing classes read."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import train_samples as samples

from emofuse.common.disk import run_folder
from emofuse.common.errors import DataError, UsageError
from emofuse.manifests.metrics import intervals
from emofuse.train.runs.summary import bootstrap_units, over_seeds

UTTERANCES = samples.utterances()
IDS = [u.id for u in UTTERANCES]
SCORES = ("wa", "ua", "wf1", "macro_f1", "micro_f1")


def test_dialogues_are_resampled_where_every_utterance_has_one() -> None:
    unit, units = bootstrap_units(UTTERANCES, IDS)
    assert unit == "dialogue"
    assert units == [u.dialogue for u in UTTERANCES]


@pytest.mark.parametrize(
    "changed",
    [
        (replace(UTTERANCES[0], dialogue=None), *UTTERANCES[1:]),
        tuple(replace(u, dialogue="the only one") for u in UTTERANCES),
        tuple(replace(u, dialogue=u.id) for u in UTTERANCES),
    ],
    ids=["one lacks it", "one for all", "one each"],
)
def test_utterances_are_resampled_otherwise(changed: Any) -> None:
    assert bootstrap_units(changed, IDS) == ("utterance", IDS)


def test_units_follow_the_order_of_the_predictions() -> None:
    assert bootstrap_units(UTTERANCES, IDS[::-1])[1] == [u.dialogue for u in UTTERANCES[::-1]]


def run(ua: float) -> dict[str, Any]:
    scored = dict.fromkeys(SCORES, ua)
    return {
        "protocol": "tiny4",
        "model": "text",
        "classes": ["a"],
        "metrics": ["ua"],
        "definitions": {},
        "mean": scored,
        "pooled": scored,
        "wall_seconds": 2.0,
        "folds": [{"fold": 1, "predicts_only": None}, {"fold": 2, "predicts_only": "a" if ua == 0.5 else None}],
    }


def test_seeds_are_summarised_by_mean_and_sample_deviation() -> None:
    found = over_seeds({3: run(0.5), 4: run(0.7), 5: run(0.6)})
    assert found["seeds"] == [3, 4, 5]
    assert found["mean"]["ua"] == pytest.approx(0.6)
    assert found["std"]["ua"] == pytest.approx(0.1)
    assert found["wall_seconds"] == 6.0
    assert found["per_seed"]["4"]["mean"]["ua"] == 0.7
    assert [r["one_class_folds"] for r in found["per_seed"].values()] == [[2], [], []]


CONFIG = {"run": {"model": "text", "seed": 0, "folds": (1, 2)}, "store": "s.h5"}
CALL = {"device": "cpu"}


def test_a_run_is_a_part_until_it_is_finished(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "run"
    part = run_folder.claim(out, CONFIG, CALL)
    assert part == tmp_path / "deep" / "run.part"
    assert not out.exists()
    run_folder.finish(part, out)
    assert json.loads((out / "config.json").read_text())["run"]["model"] == "text"
    assert not part.exists()


def test_an_equal_run_takes_the_part_up_whatever_else_changed(tmp_path: Path) -> None:
    part = run_folder.claim(tmp_path / "run", CONFIG, CALL)
    (part / "mark").touch()
    assert run_folder.claim(tmp_path / "run", CONFIG | {"store": "moved.h5"}, {"device": "cuda:0"}) == part
    assert (part / "mark").exists()
    assert run_folder.read_json(part / "config.json")["calls"] == [CALL, {"device": "cuda:0"}]


def test_another_run_names_what_differs(tmp_path: Path) -> None:
    run_folder.claim(tmp_path / "run", CONFIG, CALL)
    with pytest.raises(UsageError, match="half-done run with other model, seed;"):
        run_folder.claim(tmp_path / "run", {"run": {"model": "audio", "seed": 1, "folds": (1, 2)}}, CALL)


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_whatever_lies_at_out_is_never_replaced(tmp_path: Path, kind: str) -> None:
    (tmp_path / "run").mkdir() if kind == "folder" else (tmp_path / "run").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        run_folder.claim(tmp_path / "run", CONFIG, CALL)
    assert (tmp_path / "run").exists()
    assert not (tmp_path / "run.part").exists()


def test_damaged_json_says_which_file_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"half": ')
    with pytest.raises(DataError, match=r"x\.json cannot be read: .*; delete the folder and run again"):
        run_folder.read_json(tmp_path / "x.json")


def test_rows_of_different_keys_share_one_table(tmp_path: Path) -> None:
    run_folder.write_csv(tmp_path / "x.csv", [{"a": 1}, {"a": 2, "b": "with, comma"}])
    assert run_folder.read_csv(tmp_path / "x.csv") == [{"a": "1", "b": ""}, {"a": "2", "b": "with, comma"}]
    assert not list(tmp_path.glob("*.part"))


def test_the_default_folder_depends_on_the_settings_alone() -> None:
    identity: dict[str, Any] = {"protocol": {"name": "iemocap4"}, "model": "smcn", "seed": 0}
    one = run_folder.named(Path("runs"), "tiny-concat", identity)
    assert one == run_folder.named(Path("runs"), "tiny-concat", dict(reversed(identity.items())))
    assert one != run_folder.named(Path("runs"), "tiny-concat", identity | {"seed": 1})
    assert one.parent == Path("runs")
    assert one.name.startswith("tiny-concat-")


def test_a_finished_run_of_the_same_settings_gives_its_metrics(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run_folder.finished(out, CONFIG["run"]) is None  # type: ignore[arg-type]
    part = run_folder.claim(out, CONFIG, CALL)
    run_folder.write_json(part / "metrics.json", {"ua": 0.5})
    run_folder.finish(part, out)
    assert run_folder.finished(out, CONFIG["run"]) == {"ua": 0.5}  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="exists already and is a run with other model, steps; read it"):
        run_folder.finished(out, {"model": "audio", "seed": 0, "folds": [1, 2], "steps": 3})


@pytest.mark.parametrize("out", [".", "..", "mine"])
def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="exists already; read it, delete it"):
        run_folder.finished(Path(out), CONFIG["run"])  # type: ignore[arg-type]


def test_a_held_run_is_refused_to_others_and_free_afterwards(tmp_path: Path) -> None:
    out = tmp_path / "new" / "run"
    with run_folder.held(out):
        expected = rf"another process works in .*run\.part \(host .+, process {os.getpid()}, since .+\)"
        with pytest.raises(UsageError, match=expected), run_folder.held(out):
            pass
        with run_folder.held(out.with_name("other")):
            pass
    with run_folder.held(out):
        pass
    assert list(out.parent.iterdir()) == []


def test_intervals_over_seeds_are_those_of_one_seed_where_seeds_agree() -> None:
    rng = np.random.default_rng(0)
    labels, one, other = rng.integers(0, 3, (3, 90))
    units = [str(i // 3) for i in range(90)]
    single = intervals(labels, one, 3, units)
    twice = intervals(labels, np.stack([one, one]), 3, units)
    assert all(twice[name] == pytest.approx(single[name]) for name in single)
    both = intervals(labels, np.stack([one, other]), 3, units)
    assert both["wa"][1] - both["wa"][0] < single["wa"][1] - single["wa"][0]
