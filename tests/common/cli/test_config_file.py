"""`--config`: options from a file, by the command line's names, checked together, and replaced by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from emofuse.common.cli.config_file import ConfiguredCommand, config_option


@click.command(cls=ConfiguredCommand)
@config_option
@click.option("--store", "stores", multiple=True, required=True)
@click.option("--set", "settings", multiple=True)
@click.option("--folds", default="all")
@click.option("--class-weights", type=click.Choice(["none", "balanced"]), default="none")
@click.option("--steps", type=click.IntRange(min=1))
@click.option("--final", is_flag=True)
@click.option("--report/--no-report", default=True)
def tool(**options: Any) -> None:
    click.echo(json.dumps(options))


def run(path: Path, text: str, *arguments: str) -> Result:
    path.write_text(text)
    return CliRunner().invoke(tool, ["--config", str(path), *arguments])


FILE = """
store = "a.h5"
folds = [1, 3]
class_weights = "balanced"
steps = 20
final = true
report = false
[set]
lr = 3e-4
phi_1 = "add"
detach = true
"""


def test_a_file_gives_every_kind_of_option(tmp_path: Path) -> None:
    expected = {
        "stores": ["a.h5"],
        "settings": ["lr=0.0003", "phi_1=add", "detach=true"],
        "folds": "1,3",
        "class_weights": "balanced",
        "steps": 20,
        "final": True,
        "report": False,
    }
    assert json.loads(run(tmp_path / "c.toml", FILE).stdout) == expected
    as_json = {"store": ["a.h5"], "set": {"lr": 3e-4, "phi_1": "add", "detach": True}, "folds": [1, 3]}
    as_json |= {"class-weights": "balanced", "steps": 20, "final": True, "report": False}
    assert json.loads(run(tmp_path / "c.json", json.dumps(as_json)).stdout) == expected


def test_the_command_line_wins_and_that_is_said(tmp_path: Path) -> None:
    result = run(tmp_path / "c.toml", FILE, "--steps", "5", "--report", "--store", "b.h5")
    options = json.loads(result.stdout)
    assert (options["steps"], options["report"], options["stores"], options["folds"]) == (5, True, ["b.h5"], "1,3")
    assert "c.toml: --report, --steps, --store of the command line is used instead" in result.stderr


def test_every_mistake_of_a_file_is_named_at_once(tmp_path: Path) -> None:
    result = run(tmp_path / "c.toml", 'stoer = "a"\nsteps = 0\nfinal = "yes"\nclass-weights = "b"\nfolds = [[1]]\n')
    assert (result.exit_code, result.stdout) == (2, "")
    for problem in (
        "unknown key stoer; did you mean store?",
        "steps: 0 is not in the range x>=1",
        "final: 'yes' is neither true nor false",
        "class-weights: 'b' is not one of",
        "folds: [[1]] is not a value of this option",
    ):
        assert problem in result.stderr
    valid = "(valid: class-weights, final, folds, report, set, steps, store)"
    assert result.stderr.rstrip().endswith(f"unknown key stoer; did you mean store? {valid}")


def test_an_unknown_key_is_one_line_that_begins_with_the_fault(tmp_path: Path) -> None:
    result = run(tmp_path / "c.toml", "modle = 1\nstore = 'a.h5'\n")
    assert result.stderr.startswith(f"error: {tmp_path / 'c.toml'}: unknown key modle (valid: class-weights, ")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.toml", "version = 2\nnew = 1", "has version 2, newer than 1: update emofuse"),
        ("c.toml", "version = true", "version is True, expected a whole number"),
        ("c.toml", "store = ", "is not valid TOML"),
        ("c.json", '{"store": ', "is not valid JSON"),
        ("c.json", "[" * 100_000, "is not valid JSON"),
        ("c.json", "[1]", "is a JSON list, expected an object"),
        ("c.yaml", "store: a", "expected a file that ends in .toml or .json"),
        ("c.json", '{"run": {}, "calls": [{"command": ["fit", "--model", "x"]}]}', "its command was: fit --model x"),
        ("c.json", '{"run": {}, "calls": []}', "earlier emofuse made, and has no options"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    result = run(tmp_path / name, text)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert message in result.stderr


def test_a_missing_file_is_named() -> None:
    result = CliRunner().invoke(tool, ["--config", "absent.toml"])
    assert (result.exit_code, result.stderr) == (2, "error: --config absent.toml: No such file or directory\n")
