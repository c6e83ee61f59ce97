"""What `--quiet` and `--verbose` change, and the names of steps that take long."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import pytest

from emofuse.common.output import verbosity
from emofuse.common.output.progress import Progress
from emofuse.common.output.verbosity import Verbosity, set_verbosity, stage


@pytest.fixture(params=list(Verbosity))
def level(request: pytest.FixtureRequest) -> Iterator[Verbosity]:
    set_verbosity(request.param)
    yield request.param
    set_verbosity(Verbosity.NORMAL)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_long_step_is_named_on_a_terminal_and_timed_with_verbose(
    level: Verbosity, terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setattr(verbosity, "SILENT_SECONDS", 0.1)
    with stage("reading"):
        time.sleep(0.5)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("reading ...\n" in err) == (terminal and level > Verbosity.QUIET)
    assert ("reading: " in err) == (level is Verbosity.VERBOSE)


def test_progress_is_quiet_with_the_process(level: Verbosity, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(2, "encoding", "clips") as progress:
        progress.advance(2)
    assert ("encoding: 2/2 clips" in capsys.readouterr().err) == (level > Verbosity.QUIET)
