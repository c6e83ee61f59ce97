"""`emofuse models` and `emofuse reproduce` as a user calls them: output and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import commands
import pytest
import train_samples as samples

from emofuse.train.models.listing.cost import cost
from emofuse.train.models.listing.count_models import counted_rows
from emofuse.train.models.listing.model_list import CORPUS, listed_rows
from emofuse.train.models.registry import MODELS


def emofuse(*arguments: str, folder: Path | None = None, code: int = 0) -> str:
    done = commands.run(arguments[0], arguments[1:], folder)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def test_models_lists_every_model_with_its_size_and_cost() -> None:
    output = emofuse("models")
    lines = {line.split()[0]: line for line in output.splitlines() if line.strip()}
    for entry in MODELS:
        assert entry.description in lines[entry.name]
        assert f"{cost(entry.value, entry.value.preset('iemocap')).parameters:,}" in lines[entry.name]


def test_the_list_that_comes_with_emofuse_is_what_its_models_cost_now() -> None:
    remedy = "a model has changed: python -m emofuse.train.models.listing.count_models"
    assert listed_rows() == counted_rows(CORPUS), remedy


def test_models_answers_without_torch_and_as_json() -> None:
    code = "import sys; from emofuse.common.umbrella import load_command as c\n"
    code += "c('models')(['--json'], standalone_mode=False); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert list(rows) == MODELS.names()
    assert rows["smcn"]["ablations"] == 7
    one = json.loads(emofuse("models", "smcn", "--json"))
    assert one["settings"]["phi_1"] == {"value": "add", "choices": ["add", "multiply", "maximum"], "optional": False}
    assert len(one["ablations"]) == 7


def test_models_shows_the_settings_and_ablations_of_one() -> None:
    output = emofuse("models", "mmrbn")
    assert "audio_layers" in output
    assert all(name in output for name in MODELS["mmrbn"].ablations)
    assert "may be missing at inference (--score-without): audio, text" in emofuse("models", "msmser")
    assert "Did you mean 'mmrbn'?" in emofuse("models", "mmrb", code=2)


def test_the_cost_is_the_sum_over_the_layers() -> None:
    spec = MODELS["audio"]
    frames, width, hidden = 91, 78, 128  # 4.55 s at 20 Hz
    recurrence = 2 * frames * 2 * 3 * hidden * (width + hidden)
    pooling = 2 * frames * (2 * hidden) ** 2 + 2 * frames * 2 * hidden  # products with a vector are not counted
    head = 2 * (2 * hidden * hidden + hidden * 4)
    assert cost(spec, spec.preset("iemocap")).flops == recurrence + pooling + head


@pytest.mark.slow
def test_more_speech_costs_more_up_to_the_longest_input() -> None:
    spec = MODELS["smcn"]
    costs = [cost(spec, spec.preset("iemocap"), seconds=s).flops for s in (2, 4, 25, 60)]
    assert costs[0] < costs[1] < costs[2] == costs[3]


def test_reproduce_runs_a_table_and_prints_its_folder(tmp_path: Path) -> None:
    samples.store(tmp_path / "tiny.h5")
    task = samples.protocol_file(tmp_path)
    arguments = ("reproduce", "smcn-table1", "--store", "tiny.h5", "--substitute", f"iemocap4={task}", "--steps", "2")
    output = emofuse(*arguments, "--device", "cpu", folder=tmp_path)
    assert "NOT the paper's own conditions: short run (--steps 2)" in output
    (tables,) = (tmp_path / "runs" / "tables").iterdir()
    assert {p.name for p in tables.iterdir()} == {"table.csv", "table.html", "table.md", "table.tex"}
    assert "GBAN [13]" in output
    assert "already done" in emofuse(*arguments, "--device", "cpu", folder=tmp_path)


def test_reproduce_lists_all_tables_without_a_store() -> None:
    output = emofuse("reproduce", "--list")
    assert output.count(" to run: ") == 17
    assert "mmrbn-table1    Table 1, 7 rows to run" in output
    tables = {table["name"]: table for table in json.loads(emofuse("reproduce", "--list", "--json"))}
    assert len(tables) == 17
    assert sum(not row["cited"] for row in tables["mmrbn-table1"]["rows"]) == 7
    assert "--json belongs to --list" in emofuse("reproduce", "--json", code=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "which table? Valid: mcfn-figure2"),
        (("mmrbn-table3",), "no table named 'mmrbn-table3'. Did you mean 'mmrbn-table"),
        (("mmrbn-table1",), "nothing of mmrbn-table1 can be run (no store was given (--store))"),
        (("mmrbn-table1", "--store", "absent.h5"), "no store at absent.h5"),
        (("mmrbn-table1", "--only", "AM_7"), "no row of mmrbn-table1 named 'AM_7'. Did you mean 'AM_6'"),
        (("mmrbn-table1", "--substitute", "hubert"), "--substitute 'hubert': expected OLD=NEW"),
        (("mmrbn-table1", "--substitute", "hubrt=x"), "Did you mean 'hubert'?"),
        (
            ("mmrbn-table1", "--substitute", "hubert=hubert", "--substitute", "bert=bert"),
            "hubert=hubert: without effect",
        ),
        (("mmrbn-table2", "--only", "[20] (2023, A-T)"), "another system's figures, cited and not run"),
    ],
)
def test_what_cannot_be_run_is_one_clear_line(arguments: tuple[str, ...], message: str) -> None:
    assert message in emofuse("reproduce", *arguments, code=2)
