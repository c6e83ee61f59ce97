"""A search space: which hyper-parameters are sought, and where, as a TOML file.

    sampler = "tpe"                              # or "random", "grid" (choices alone)
    lr = { low = 1e-5, high = 1e-3, log = true }
    hidden = [64, 128, 256]
    batch = { low = 16, high = 64, step = 16 }

Keys are those of `fit --set`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emofuse.common.errors import EmofuseError, UsageError, complain
from emofuse.train.models.config import Config, with_settings

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.samplers import BaseSampler

    from emofuse.train.resolve.plan import FitPlan

SAMPLERS = ("tpe", "random", "grid")
Value = float | int | str | bool


class UnfitError(UsageError):
    """Settings that do not go together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Numbers from `low` to `high`."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def ends(self) -> Sequence[Value]:
        """What is tried beforehand: if these may be, so may what lies between."""
        return (self.low, self.high, *([] if self.step is None else [self.low + self.step]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """One of some values."""

    values: tuple[Value, ...]

    @property
    def ends(self) -> Sequence[Value]:
        """All of them."""
        return self.values


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What is sought."""

    sampler: str
    settings: Mapping[str, Range | Choices]

    @property
    def size(self) -> int | None:
        """How many combinations there are; none: without end."""
        count = 1
        for where in self.settings.values():
            if isinstance(where, Range):
                return None
            count *= len(where.values)
        return count

    def record(self) -> dict[str, Any]:
        """JSON-ready, for comparison."""
        return {"sampler": self.sampler} | {
            k: list(v.values) if isinstance(v, Choices) else [v.low, v.high, v.log, v.step]
            for k, v in self.settings.items()
        }

    def sampler_for(self, seed: int, number: int) -> BaseSampler:
        """What proposes the trial of this number: the same one, whether the search was interrupted before or not."""
        from optuna import samplers

        own = seed * 1_000_003 + number
        return samplers.RandomSampler(seed=own) if self.sampler != "tpe" else samplers.TPESampler(seed=own)

    def check(self, settings: Mapping[str, Value], plan: FitPlan) -> None:
        """Refuse what a trial proposes, where it does not fit together.

        Raises:
            UnfitError: Says what does not.
        """
        try:
            with_settings(plan.settings, pairs(settings), tuple(plan.features), plan.ablation)
        except UsageError as error:
            raise UnfitError(str(error)) from None

    def combination(self, number: int) -> dict[str, Value]:
        """What the trial of this number has in a grid."""
        values = [v.values for v in self.settings.values() if isinstance(v, Choices)]
        return dict(zip(self.settings, next(islice(product(*values), number, None)), strict=True))

    def asked(self, trial: Trial) -> dict[str, Value]:
        """What a trial proposes."""
        found: dict[str, Value] = {}
        for key, where in self.settings.items():
            if isinstance(where, Choices):
                chosen: Any = trial.suggest_categorical(key, where.values)
                found[key] = chosen
            elif all(isinstance(v, int) for v in (where.low, where.high, where.step or 1)):
                step = int(where.step or 1)
                found[key] = trial.suggest_int(key, int(where.low), int(where.high), step=step, log=where.log)
            else:
                found[key] = trial.suggest_float(key, where.low, where.high, step=where.step, log=where.log)
        return found


def pairs(settings: Mapping[str, Value]) -> tuple[str, ...]:
    """As `--set` takes them."""
    return tuple(f"{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in settings.items())


def read_space(path: Path, preset: Config, modalities: Sequence[str], ablation: str | None, given: set[str]) -> Space:
    """Read a search space for a model.

    Args:
        preset: What the model is trained with otherwise.
        given: Settings that the command line has fixed.

    Raises:
        UsageError: Everything that is wrong with the file.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--search {path}: {error.strerror}; docs/fitting.md shows what it is") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--search {path} is not TOML: {error}") from None
    problems: list[str] = []
    sampler = raw.pop("sampler", "tpe")
    if sampler not in SAMPLERS:
        problems.append(f"sampler is {sampler!r}; valid: {', '.join(SAMPLERS)}")
    settings: dict[str, Range | Choices] = {}
    for key, words in raw.items():
        try:
            settings[key] = _where(key, words)
            if key in given:
                raise UsageError(f"{key} is given on the command line, too: leave one of them out")
            for value in settings[key].ends:
                with_settings(preset, pairs({key: value}), modalities, ablation)
        except EmofuseError as error:
            problems.append(str(error))
    if not raw:
        problems.append("it names no setting, such as lr = { low = 1e-5, high = 1e-3, log = true }")
    if sampler == "grid":
        problems += [f"{k} is a range: a grid needs choices" for k, v in settings.items() if isinstance(v, Range)]
    complain(list(dict.fromkeys(problems)), f"--search {path}")
    return Space(sampler=sampler, settings=settings)


def _where(key: str, words: Any) -> Range | Choices:
    if isinstance(words, list) and words and all(isinstance(v, int | float | str) for v in words):
        if len(set(words)) < len(words):
            raise UsageError(f"{key}: a choice is given twice in {words}")
        return Choices(values=tuple(words))
    expected = f"{key}: expected choices, [64, 128], or a range, {{ low = 1, high = 8 }}, log and step if you like"
    if not isinstance(words, dict) or not {"low", "high"} <= set(words) <= {"low", "high", "log", "step"}:
        raise UsageError(expected)
    found = Range(**words)
    numbers = [found.low, found.high, *([] if found.step is None else [found.step])]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers) or not found.low < found.high:
        raise UsageError(f"{expected}; low below high")
    if not isinstance(found.log, bool):
        raise UsageError(f"{key}: log is {found.log!r}; valid: true, false")
    if found.log and (found.step is not None or found.low <= 0):
        raise UsageError(f"{key}: a logarithmic range is above zero and has no step")
    if found.step is not None and found.step <= 0:
        raise UsageError(f"{key}: step is {found.step}, expected a number above 0")
    return found
