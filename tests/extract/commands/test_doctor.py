"""`emofuse doctor`: a machine in order, and one clear line with a cure for each thing that is not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from emofuse.extract.commands.doctor import doctor


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EMOFUSE_CORPORA", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def examined(*words: str, code: int = 0) -> dict[str, dict[str, Any]]:
    result = CliRunner().invoke(doctor, ["--json", *words])
    assert result.exit_code == code, result.output
    report = json.loads(result.stdout)
    assert (report["broken"] > 0) == bool(code)
    return {finding["name"]: finding for finding in report["findings"]}


def test_a_machine_in_order_has_no_problem_and_every_note_a_cure() -> None:
    found = examined()
    assert found["torch"]["state"] == found["required packages"]["state"] == found["disk of stores"]["state"] == "ok"
    assert found["offline"]["found"] == "HF_HUB_OFFLINE=1"
    assert all(bool(finding["cure"]) == (finding["state"] != "ok") for finding in found.values())


def test_corpora_that_are_half_unpacked_and_files_that_are_no_stores_are_one_line_each() -> None:
    wav = Path("corpora/emodb/wav")
    wav.mkdir(parents=True)
    (wav / "03a01Fa.wav").touch()
    Path("corpora/savee").mkdir()
    Path("cache").mkdir()
    Path("cache/bad.h5").write_text("junk")
    result = CliRunner().invoke(doctor, [])
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    for mark, name, text in (
        ("note", "emodb", "1 utterance of the release's 535"),
        ("BROKEN", "savee", "is not laid out as savee"),
        ("BROKEN", "bad.h5", "is not a store but a text file"),
    ):
        (line,) = (number for number, line in enumerate(lines) if f" {name}: " in line)
        assert lines[line].split()[0] == mark
        assert text in lines[line]
        assert lines[line + 1].startswith("          -> ")
    assert lines[-1].startswith("2 problems, ")


def test_a_folder_for_corpora_that_does_not_exist_is_a_problem_where_it_was_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EMOFUSE_CORPORA", "absent")
    assert examined(code=1)["folder"]["state"] == "broken"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_folder_that_cannot_be_written_is_a_problem() -> None:
    finding = examined("--stores", "/proc/cache", code=1)["disk of stores"]
    assert "/proc/cache cannot be written: " in finding["found"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_full_disk_is_a_problem_and_no_traceback() -> None:
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    code += "from emofuse.extract.doctor import _disk; from pathlib import Path; print(_disk('stores', Path('cache')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "state='broken', cure='free some space'" in done.stdout, done.stderr
