"""Mistakes gathered, so that all of them are said in one message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from emofuse.common.errors import EmofuseError, SeveralProblemsError, UsageError


@dataclass(slots=True)
class Problems:
    """What is wrong so far."""

    found: list[EmofuseError] = field(default_factory=list)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note a `UsageError` of the block and go on."""
        try:
            yield
        except UsageError as error:
            self.found.append(error)

    def note(self, problem: str) -> None:
        """Note one more."""
        self.found.append(UsageError(problem))

    def stop(self) -> None:
        """Raise what was found, each once; nothing where there is nothing."""
        distinct = {str(error): error for error in self.found}
        if len(distinct) == 1:
            raise next(iter(distinct.values()))
        if distinct:
            raise SeveralProblemsError("several things are wrong:", distinct)
