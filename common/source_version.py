"""The version of emofuse with the commit that its code is from, for records and `emofuse --version`."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

UNKNOWN = "unknown"
_ROOT = Path(__file__).resolve().parents[1]
_SECONDS = 5


def package_version() -> str:
    """The version of emofuse, or why it has none."""
    try:
        return version("emofuse")
    except PackageNotFoundError:
        return "not installed as a package"


@functools.cache
def commit() -> str:
    """The commit of the running code, with `-dirty` if files were changed since; `unknown` where nothing records it.

    A checkout is asked through git. An installed package has what pip recorded of its source (PEP 610,
    https://peps.python.org/pep-0610/).
    """
    # Only a repository of the package itself: one further up may hold the environment that it is installed in.
    return _of_checkout() if (_ROOT / ".git").exists() else _of_installation()


def _of_checkout() -> str:
    command = ["git", "--no-optional-locks", "-C", str(_ROOT), "describe"]
    command += ["--always", "--dirty", "--abbrev=40", "--exclude=*"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, env=environment, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return UNKNOWN
    return done.stdout.strip() if done.returncode == 0 and done.stdout.strip() else UNKNOWN


def _of_installation() -> str:
    try:
        source = json.loads(distribution("emofuse").read_text("direct_url.json") or "{}")
        return str(source["vcs_info"]["commit_id"])
    except (PackageNotFoundError, OSError, ValueError, KeyError, TypeError):
        return UNKNOWN
