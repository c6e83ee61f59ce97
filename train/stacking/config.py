"""The options of one call of `stack`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Required, TypedDict, Unpack

from emofuse.common.option_values import as_path, as_tuple, check_values
from emofuse.common.problems import Problems

_EXAMPLES = {"members": "members=['runs/emodb4-linear-1a2b3c4d', 'runs/emodb4-audio-5e6f7a8b']"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StackConfig:
    """The options of one call of `stack`; paths may be given as text."""

    members: tuple[Path, ...]
    """The folders of two or more finished runs of one task."""
    out: Path | None = None
    """The folder of the results; None means one below `runs`, named after the protocol and a digest."""
    runs: Path = Path("runs")
    """The folder of all runs whose `out` is None."""
    report: bool = True
    """Write report.html and confusion.png, where the extra `report` is installed."""

    if TYPE_CHECKING:

        def __init__(self, **options: Unpack[StackOptions]) -> None: ...

    def __post_init__(self) -> None:
        members = as_tuple(self.members)
        converted: dict[str, Any] = {
            "members": tuple(map(as_path, members)) if isinstance(members, tuple) else members,
            "out": as_path(self.out),
            "runs": as_path(self.runs),
        }
        for name, value in converted.items():
            object.__setattr__(self, name, value)

    def check(self, problems: Problems) -> None:
        """Note every value that the command line refuses by itself, and too few or repeated runs."""
        expected = {"members": "a sequence of run folders"}
        if "members" in check_values(self, problems, expected=expected, minimum={}, examples=_EXAMPLES):
            return
        if len(self.members) < 2:
            problems.add(f"stacking combines two or more runs, and {len(self.members)} is given: name another one")
        for path in dict.fromkeys(p for p in self.members if self.members.count(p) > 1):
            problems.add(f"{path} is given twice: name each run once")


class StackOptions(TypedDict, total=False):
    """The keywords of `stack`: the fields of `StackConfig` in the forms that it converts."""

    members: Required[Sequence[str | Path]]
    out: str | Path | None
    runs: str | Path
    report: bool
