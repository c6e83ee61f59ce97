"""`emofuse completion`: bash completes commands, options, names and files; zsh and fish can read their scripts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from emofuse.common.umbrella import main

BASH = shutil.which("bash")
SCRIPTS = Path(sys.executable).parent
TRY = """
source complete.bash
compopt() { local IFS=" "; echo "compopt $*"; }
try() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    "_$1_completion" "$1"
    echo "$*: ${COMPREPLY[*]}"
}
"""


def script(shell: str) -> str:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.skipif(BASH is None or sys.platform == "win32", reason="needs bash")
@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("emofuse store inf", "emofuse store inf: info"),
        ("fit --model smc", "fit --model smc: smcn"),
        ("extract --encoder hubert", "extract --encoder hubert: hubert hubert-large"),
        ("emofuse store info st", "compopt -o default\nemofuse store info st: "),
    ],
)
def test_bash_completes(tmp_path: Path, line: str, completed: str) -> None:
    (tmp_path / "complete.bash").write_text(script("bash"))
    environment = {**os.environ, "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [str(BASH), "-c", f"{TRY}try {line}"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == (f"{completed}\n", "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_a_shell_can_read_its_script(tmp_path: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "complete").write_text(script(shell))
    done = subprocess.run([shell, "-n", str(tmp_path / "complete")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
