"""The errors that a user may see, and the exit codes that commands turn them into.

Exit codes: 0 success; 1 success, some items excluded; 2 wrong usage; 3 damaged data or a full disk; 130 interrupted.
"""

from __future__ import annotations

import difflib
import errno
import functools
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn, ParamSpec, TypeVar

from emofuse.common.output.console import warn

DONE, EXCLUDED, USAGE, DAMAGED, INTERRUPTED = 0, 1, 2, 3, 130
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a full disk, an exhausted quota or a reached `ulimit -f`."""
_DISK_LOST_NAMES = ("EIO", "ESTALE", "ETIMEDOUT", "ENXIO", "ENODEV", "EREMOTEIO", "ENOTCONN", "ESHUTDOWN", "EHOSTDOWN")
DISK_LOST = tuple(getattr(errno, name) for name in _DISK_LOST_NAMES if hasattr(errno, name))
"""Error numbers of a failing disk, or of a lost connection to it."""

P = ParamSpec("P")
R = TypeVar("R")


class EmofuseError(Exception):
    """Something that the user can fix; the message says what was given, what is expected and what to do."""

    exit_code = USAGE

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the message, the exit code and the notes, for other processes."""
        kind: type[EmofuseError] = type(self)
        if kind.__init__ is not Exception.__init__:  # its arguments are not its message
            kind = DataError if self.exit_code == DAMAGED else UsageError
        return kind, (str(self),), self.__dict__


class UsageError(EmofuseError):
    """Wrong usage: a name, a path or a combination of options that cannot work."""


class SeveralProblemsError(UsageError):
    """Several problems in one message; `problems` lists them one by one."""

    def __init__(self, headline: str, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n  - ".join([headline, *self.problems]))


class UnknownNameError(UsageError):
    """An unknown name; the message lists the valid ones and suggests `guess`, or the closest."""

    def __init__(self, kind: str, name: str, valid: Iterable[str], hint: str = "", guess: str | None = None) -> None:
        self.kind, self.valid = kind, sorted(valid)
        names = self.valid
        listed = ", ".join(names) if names else "none"
        closest = guess or nearest(name, names)
        question = f" Did you mean {closest!r}?" if closest else ""
        super().__init__(f"no {kind} named {name!r}.{question} Valid: {listed}.{' ' + hint if hint else ''}")


class DataError(EmofuseError):
    """Damaged data on disk, or a disk that cannot be written to."""

    exit_code = DAMAGED


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name that an unknown one was probably meant to be."""
    return next(iter(difflib.get_close_matches(name, list(valid), n=1, cutoff=0.6)), None)


def raise_problems(problems: list[str], headline: str) -> None:
    """Raise one `UsageError` that lists every problem (at most 20); do nothing when there are none."""
    if len(problems) == 1:
        raise UsageError(f"{headline}: {problems[0]}")
    if problems:
        shown = problems[:20] + ([f"... and {len(problems) - 20} more"] if len(problems) > 20 else [])
        raise UsageError(f"{headline}:\n" + "\n".join(f"  - {p}" for p in shown))


def damage_error(headline: str, problems: Sequence[str], remedy: str) -> DataError:
    """One `DataError` that lists every problem (at most 20), and then says what to do."""
    if len(problems) == 1:
        return DataError(f"{headline}: {problems[0]}; {remedy}")
    shown = [*problems[:20], *([f"... and {len(problems) - 20} more"] if len(problems) > 20 else [])]
    return DataError("\n  - ".join([f"{headline}; {remedy}:", *shown]))


RESUMES = "interrupted; what was written is kept, and the same command resumes from there"


def command(function: Callable[P, R], interrupted: str = RESUMES) -> Callable[P, R]:
    """Wrap a click command: our errors, a full disk and Ctrl-C become one clear message and an exit code.

    Args:
        function: The command.
        interrupted: The message after Ctrl-C.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except EmofuseError as error:
            fail(str(error), error.exit_code, getattr(error, "__notes__", []))
        except KeyboardInterrupt:
            fail(interrupted, INTERRUPTED)
        except OSError as error:
            _exit_on_disk_error(error)
            raise

    return wrapped


def _exit_on_disk_error(error: OSError) -> None:
    """Exit with a message where the cause is outside the program; return for any other error."""
    where = error.filename or "the output"
    if error.errno in DISK_FULL:
        fail(f"no space left for {where}: free some and run the same command again", DAMAGED)
    if error.errno in DISK_LOST:
        again = "complete files are untouched; check the disk and run the same command again"
        fail(f"{where}: the disk failed or the connection to it was lost ({error.strerror}); {again}", DAMAGED)
    if error.errno == errno.EROFS:
        fail(f"{where} is on a read-only file system: choose another path", USAGE)
    if error.errno == errno.EPIPE:  # `... | head` closed the pipe: not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(DONE)
    if isinstance(error, PermissionError):
        fail(f"{error.strerror}: {error.filename}; choose another path, or change who may read and write it", USAGE)
    if isinstance(error, IsADirectoryError | NotADirectoryError):
        fail(f"{error.strerror}: {error.filename}; choose another path", USAGE)


def fail(message: str, exit_code: int, notes: Iterable[str] = ()) -> NoReturn:
    """Print one message to stderr and exit with `exit_code`."""
    warn("\n".join([f"error: {message}", *notes]))
    sys.exit(exit_code)
