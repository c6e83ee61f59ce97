"""Registry, errors and exit codes, progress on a terminal and on a pipe, sanitised text, locks."""

from __future__ import annotations

import errno
import io
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from emofuse.common.disk.locking import lock
from emofuse.common.errors import DataError, UnknownNameError, UsageError, command, raise_problems
from emofuse.common.output import progress as progress_module
from emofuse.common.output.console import format_size, format_table, printable
from emofuse.common.output.progress import Progress, format_duration
from emofuse.common.registry import Registry


def test_registry_refuses_duplicate_and_unknown_names() -> None:
    registry: Registry[int] = Registry("encoder")
    registry.add("hubert", "a speech encoder", 1)
    assert (registry["hubert"], "hubert" in registry, registry.names()) == (1, True, ["hubert"])
    assert [e.description for e in registry] == ["a speech encoder"]
    with pytest.raises(ValueError, match="encoder 'hubert' is registered twice"):
        registry.add("hubert", "", 2)
    with pytest.raises(UnknownNameError, match=r"no encoder named 'huber'\. Did you mean 'hubert'"):
        registry["huber"]
    with pytest.raises(UnknownNameError, match="Valid: none"):
        Registry("x")["y"]


def test_all_problems_are_raised_at_once() -> None:
    raise_problems([], "fine")
    with pytest.raises(UsageError, match=r"^bad: one$"):
        raise_problems(["one"], "bad")
    with pytest.raises(UsageError, match=r"(?s)bad:\n  - one\n  - two"):
        raise_problems(["one", "two"], "bad")
    with pytest.raises(UsageError, match="and 5 more"):
        raise_problems([str(i) for i in range(25)], "bad")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UsageError("wrong option"), 2, "error: wrong option"),
        (DataError("damaged"), 3, "error: damaged"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
        (OSError(errno.ENOSPC, "No space left on device", "x.h5"), 3, "error: no space left for x.h5"),
        (
            PermissionError(errno.EACCES, "Permission denied", "x.h5"),
            2,
            "error: Permission denied: x.h5; choose another path, or ",
        ),
    ],
)
def test_each_error_has_its_exit_code(
    error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @command
    def fails() -> None:
        raise error

    with pytest.raises(SystemExit) as exit_info:
        fails()
    assert exit_info.value.code == code
    assert capsys.readouterr().err.startswith(message)


def test_our_own_defects_are_not_hidden() -> None:
    @command
    def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()


def test_progress_on_a_pipe_is_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "PLAIN_LINE_SECONDS", 0.0)
    stream = io.StringIO()
    with Progress(4, "hubert", "utterances", done=1, work=30.0, stream=stream) as progress:
        progress.advance(1, "0.10 h", work=20.0)
        progress.say("excluded u7")
        progress.advance(2, work=10.0)
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("hubert: 2/4 utterances, 0.10 h, ")
    assert lines[0].endswith(" left")
    assert lines[1] == "excluded u7"
    assert lines[-1].startswith("hubert: 4/4 utterances, 0.10 h, ")
    assert "\r" not in stream.getvalue()


def test_progress_on_a_terminal_is_one_moving_line() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with Progress(3, "hubert", "utterances", stream=stream) as progress:
        for _ in range(3):
            progress.advance(note="1.0 h")
    assert "3/3 utterances" in stream.getvalue()
    assert "1.0 h" in stream.getvalue()


def test_quiet_prints_nothing() -> None:
    stream = io.StringIO()
    with Progress(1, "x", "steps", quiet=True, stream=stream) as progress:
        progress.advance()
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (185, "3:05"), (3727, "1:02:07")])
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1500, "1.5 kB"), (1.93e9, "1.9 GB"), (2.5e12, "2.50 TB")])
def test_format_size(count: float, text: str) -> None:
    assert format_size(count) == text


def test_untrusted_text_cannot_move_the_cursor() -> None:
    assert "\x1b" not in printable("a\x1b[2Jb")
    assert len(printable("x" * 500)) == 120


def test_table_aligns_numbers_right() -> None:
    assert format_table(("class", "n"), [("ang", 5), ("neutral", 1708)]).splitlines() == [
        "class       n",
        "ang         5",
        "neutral  1708",
    ]


def test_the_umbrella_lists_every_command_and_the_closest() -> None:
    result = subprocess.run([sys.executable, "-m", "emofuse.common.umbrella"], capture_output=True, text=True)
    for command_name in ("extract", "fit", "store", "manifest", "demo"):
        assert command_name in result.stdout + result.stderr
    wrong = subprocess.run([sys.executable, "-m", "emofuse.common.umbrella", "stor"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "stor" in wrong.stderr


def test_a_lock_names_its_holder_and_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "x{y}.lock"
    code = f"""
import os, time
from pathlib import Path
from emofuse.common.disk.locking import lock
lock(Path({str(path)!r}), "")
print("held", flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(UsageError, match=rf"x{{y}} is busy \(host .*, process {process.pid}, since 20\d\d-\S+Z\)"):
        lock(path, "x{y} is busy ({holder})")
    process.kill()
    process.wait()
    lock(path, "still busy").release(remove=True)
    assert list(tmp_path.iterdir()) == []


def test_a_closed_pipe_does_not_stop_the_work() -> None:
    imported = "from emofuse.common.output.console import say"
    code = f"{imported}\nfor i in range(20000): say('x' * 100)\nopen('done', 'w').close()"
    folder = Path(tempfile.mkdtemp())
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=folder)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait() == 0
    assert (folder / "done").exists()
