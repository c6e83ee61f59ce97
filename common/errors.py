"""The one family of errors a user may see, and how a command turns them into exit codes.

Exit codes: 0 done; 1 done, some items excluded; 2 wrong use; 3 damaged data or a full disk; 130 interrupted.
"""

from __future__ import annotations

import difflib
import errno
import functools
import os
import sys
from collections.abc import Callable, Iterable
from typing import NoReturn, ParamSpec, TypeVar

DONE, EXCLUDED, USAGE, DAMAGED, INTERRUPTED = 0, 1, 2, 3, 130
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where a disk, a quota or `ulimit -f` takes no more."""
_GONE = ("EIO", "ESTALE", "ETIMEDOUT", "ENXIO", "ENODEV", "EREMOTEIO", "ENOTCONN", "ESHUTDOWN", "EHOSTDOWN")
GONE = tuple(getattr(errno, name) for name in _GONE if hasattr(errno, name))
"""What the system says where a disk fails, or the connection to it is lost."""

P = ParamSpec("P")
R = TypeVar("R")


class EmofuseError(Exception):
    """Something the user can mend: what was got, what was expected, what to do."""

    exit_code = USAGE

    def __reduce__(self) -> tuple[object, ...]:
        """What another process needs of it: what it says, how the command ends, and the notes."""
        kind: type[EmofuseError] = type(self)
        if kind.__init__ is not Exception.__init__:  # it was built of other words than what it says
            kind = DataError if self.exit_code == DAMAGED else UsageError
        return kind, (str(self),), self.__dict__


class UsageError(EmofuseError):
    """Wrong use: a name, a path or a combination of options that cannot work."""


class SeveralProblemsError(UsageError):
    """Several mistakes in one message; `problems` has them one by one."""

    def __init__(self, headline: str, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n  - ".join([headline, *self.problems]))


class UnknownNameError(UsageError):
    """A name that no registry, store or protocol knows; lists the valid ones and the nearest."""

    def __init__(self, kind: str, name: str, valid: Iterable[str], hint: str = "") -> None:
        self.kind, self.valid = kind, sorted(valid)
        names = self.valid
        listed = ", ".join(names) if names else "none"
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"no {kind} named {name!r}.{guess} Valid: {listed}.{' ' + hint if hint else ''}")


class DataError(EmofuseError):
    """Data on disk that is damaged, or a disk that cannot take more."""

    exit_code = DAMAGED


def complain(problems: list[str], headline: str) -> None:
    """Raise one `UsageError` that lists every problem; nothing when there are none."""
    if len(problems) == 1:
        raise UsageError(f"{headline}: {problems[0]}")
    if problems:
        shown = problems[:20] + ([f"... and {len(problems) - 20} more"] if len(problems) > 20 else [])
        raise UsageError(f"{headline}:\n" + "\n".join(f"  - {p}" for p in shown))


RESUMES = "interrupted; what was written stays, and the same command goes on from there"


def command(function: Callable[P, R], interrupted: str = RESUMES) -> Callable[P, R]:
    """Wrap a click command: our errors, a full disk and Ctrl-C end in one clear message and their exit code."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except EmofuseError as error:
            fail(str(error), error.exit_code, getattr(error, "__notes__", []))
        except KeyboardInterrupt:
            fail(interrupted, INTERRUPTED)
        except OSError as error:
            where = error.filename or "the output"
            if error.errno in FULL:
                fail(f"no space left for {where}: free some and run the same command again", DAMAGED)
            if error.errno in GONE:
                again = "what was complete is untouched; see to the disk and run the same command again"
                fail(f"{where}: the disk failed or the connection to it was lost ({error.strerror}); {again}", DAMAGED)
            if error.errno == errno.EROFS:
                fail(f"{where} is on a read-only file system: name a file elsewhere", USAGE)
            if error.errno == errno.EPIPE:  # `... | head` closed the pipe: not our error
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                sys.exit(DONE)
            if isinstance(error, PermissionError | IsADirectoryError | NotADirectoryError):
                fail(f"{error.strerror}: {error.filename}", USAGE)
            raise

    return wrapped


def harmless(text: str) -> str:
    """Text, some of which may be a stranger's, without control characters but for the ends of lines."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def fail(message: str, exit_code: int, notes: Iterable[str] = ()) -> NoReturn:
    """Print one message to stderr and leave with `exit_code`."""
    print(harmless("\n".join([f"error: {message}", *notes])), file=sys.stderr, flush=True)
    sys.exit(exit_code)
