"""A folder without write permission, asked for by an ordinary user: one line, exit code 2, nothing written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

CODE = """if True:
    import os
    from pathlib import Path
    from emofuse.common.disk.files import refuse_unwritable
    from emofuse.common.errors import command
    if os.geteuid() == 0:  # root is not held back by permissions
        os.setuid(65534)
    command(WHAT)()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
@pytest.mark.parametrize(
    ("what", "message"),
    [
        (
            "lambda: refuse_unwritable(Path('cache/s.h5'))",
            "cache/s.h5 cannot be written: {cache} is not writable; choose another path",
        ),
        (
            "Path('cache/run.lock').touch",
            "Permission denied: cache/run.lock; choose another path, or change who may read and write it",
        ),
    ],
)
def test_a_folder_that_may_not_be_written_is_one_line_with_a_cure(what: str, message: str) -> None:
    with TemporaryDirectory() as made:  # pytest's own folders are closed to other users
        folder, cache = Path(made).resolve(), Path(made).resolve() / "cache"
        cache.mkdir()
        folder.chmod(0o755)
        cache.chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", CODE.replace("WHAT", what)], cwd=folder, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (2, f"error: {message.format(cache=cache)}\n")
        assert not list(cache.iterdir())
