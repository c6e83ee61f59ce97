"""Collect several independent mistakes and report them in one message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from emofuse.common.errors import EmofuseError, SeveralProblemsError, UsageError


@dataclass(slots=True)
class Problems:
    """The errors collected so far; a check of one thing alone uses `errors.raise_problems`."""

    errors: list[EmofuseError] = field(default_factory=list)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Collect a `UsageError` raised in the block, and continue after it."""
        try:
            yield
        except UsageError as error:
            self.errors.append(error)

    def add(self, problem: str) -> None:
        """Collect one more problem."""
        self.errors.append(UsageError(problem))

    def raise_all(self) -> None:
        """Raise what was collected, without duplicates; do nothing when there is nothing.

        Raises:
            EmofuseError: The only error, as it was raised.
            SeveralProblemsError: All of them, when there are several.
        """
        distinct = {str(error): error for error in self.errors}
        if len(distinct) == 1:
            raise next(iter(distinct.values()))
        if distinct:
            raise SeveralProblemsError(f"{len(distinct)} problems:", distinct)
