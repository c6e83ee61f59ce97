"""Which outputs of a network over log-Mel patches are stored: the `--layers` option where layers differ in width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emofuse.common.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchOutputs:
    """The outputs of a network, numbered from 1: first its layers, then outputs that are only known by name."""

    widths: tuple[int, ...]
    """D of each output."""
    names: Mapping[str, int]
    """Names of some of the outputs."""
    layers: int
    """Number of layers; outputs with a higher number can only be chosen by name."""

    def choose(self, option: str) -> tuple[int, ...]:
        """The numbers of the outputs that `--layers` names.

        Raises:
            UsageError: An unknown output, one that is named twice, or several of different widths.
        """
        known = {**self.names, **{str(n): n for n in range(1, self.layers + 1)}}
        if option in ("all", "mean"):
            raise UsageError(f"--layers {option} needs layers of one width, but here they are {self._widths()}")
        chosen = [known.get(name.strip()) for name in option.split(",")]
        numbers = tuple(n for n in chosen if n is not None)
        if len(numbers) < len(chosen) or len(set(numbers)) < len(numbers):
            raise UsageError(
                f"--layers is {option!r}, expected {', '.join(self.names)} or numbers from 1 to {self.layers}: one, or "
                f"different ones of one width: {self._widths()}"
            )
        if len({self.widths[n - 1] for n in numbers}) > 1:
            raise UsageError(
                f"--layers {option}: outputs of different widths cannot share a layer axis; they are {self._widths()}. "
                "Extract each as a separate feature (--name)"
            )
        return numbers

    def identity(self, numbers: tuple[int, ...]) -> list[int | str]:
        """For the fingerprint: layers by number, other outputs by name."""
        named = {n: name for name, n in self.names.items()}
        return [n if n <= self.layers else named[n] for n in numbers]

    def _widths(self) -> str:
        by_width: dict[int, list[str]] = {}
        for entry, width in zip(self.identity(tuple(range(1, len(self.widths) + 1))), self.widths, strict=True):
            by_width.setdefault(width, []).append(str(entry))
        return "; ".join(f"{width}-dimensional: {', '.join(entries)}" for width, entries in by_width.items())
