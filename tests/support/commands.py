"""Commands as a user types them, run in this process: the same code, exit code and output, without starting Python.

Tests that kill a process, limit it or hide packages from it start one of their own.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from emofuse.common.umbrella import load_command


def run(name: str, arguments: Sequence[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`NAME ARGUMENTS` in a folder; a verb of `emofuse`, such as extract, fit or models."""
    out, err = io.StringIO(), io.StringIO()
    before = Path.cwd()
    os.chdir(cwd or before)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = _exit_code(name, arguments)
    finally:
        os.chdir(before)
    return subprocess.CompletedProcess([name, *arguments], code, out.getvalue(), err.getvalue())


def _exit_code(name: str, arguments: Sequence[str]) -> int:
    try:
        load_command(name).main(args=list(arguments), prog_name=name)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    return 0
