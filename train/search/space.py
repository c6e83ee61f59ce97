"""A search space: which hyper-parameters a search varies, and between which values, as a TOML file.

    sampler = "tpe"                              # or "random", "grid" (choices only)
    lr = { low = 1e-5, high = 1e-3, log = true }
    hidden = [64, 128, 256]
    batch = { low = 16, high = 64, step = 16 }

Keys are those of `fit --set`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emofuse.common.errors import EmofuseError, UsageError, raise_problems
from emofuse.train.models.config import Config, with_settings
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.resolve.training_conflicts import training_conflicts

if TYPE_CHECKING:  # optuna is optional
    from optuna import Trial
    from optuna.samplers import BaseSampler

SAMPLERS = ("tpe", "random", "grid")
Value = float | int | str | bool


class UnfitError(UsageError):
    """Settings that cannot be combined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    """Whether values are drawn on a logarithmic scale."""
    step: float | None = None
    """The distance between values; None means any value."""

    @property
    def checked_values(self) -> Sequence[Value]:
        """The values that are checked before the search; if they are valid, so are those between."""
        return (self.low, self.high, *([] if self.step is None else [self.low + self.step]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """A list of values."""

    values: tuple[Value, ...]

    @property
    def checked_values(self) -> Sequence[Value]:
        """All of them."""
        return self.values


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The hyper-parameters that a search varies."""

    sampler: str
    """One of `SAMPLERS`."""
    settings: Mapping[str, Range | Choices]

    @property
    def size(self) -> int | None:
        """The number of combinations; None where a range has infinitely many values."""
        count = 1
        for dimension in self.settings.values():
            if isinstance(dimension, Range):
                return None
            count *= len(dimension.values)
        return count

    def record(self) -> dict[str, Any]:
        """JSON-ready; an interrupted search is resumed only with an equal record."""
        return {"sampler": self.sampler} | {
            k: list(v.values) if isinstance(v, Choices) else [v.low, v.high, v.log, v.step]
            for k, v in self.settings.items()
        }

    def sampler_for(self, seed: int, number: int) -> BaseSampler:
        """The sampler of trial `number`; the same one whether the search was interrupted before or not."""
        from optuna import samplers

        trial_seed = seed * 1_000_003 + number
        if self.sampler == "tpe":
            return samplers.TPESampler(seed=trial_seed)
        return samplers.RandomSampler(seed=trial_seed)

    def check(self, settings: Mapping[str, Value], plan: FitPlan) -> None:
        """Refuse settings that cannot be combined.

        Raises:
            UnfitError: Names the setting and the reason.
        """
        try:
            conflicts = partial(training_conflicts, plan.config, plan.spec)
            modalities = tuple(plan.features)
            with_settings(plan.settings, setting_pairs(settings), modalities, plan.ablation, conflicts=conflicts)
        except UsageError as error:
            raise UnfitError(str(error)) from None

    def combination(self, number: int) -> dict[str, Value]:
        """The settings of trial `number` in a grid."""
        values = [v.values for v in self.settings.values() if isinstance(v, Choices)]
        return dict(zip(self.settings, next(islice(product(*values), number, None)), strict=True))

    def suggest(self, trial: Trial) -> dict[str, Value]:
        """The settings that the sampler suggests for a trial."""
        suggested: dict[str, Value] = {}
        for key, dimension in self.settings.items():
            if isinstance(dimension, Choices):
                choice: Any = trial.suggest_categorical(key, dimension.values)
                suggested[key] = choice
                continue
            low, high, step, log = dimension.low, dimension.high, dimension.step, dimension.log
            if all(isinstance(v, int) for v in (low, high, step or 1)):
                suggested[key] = trial.suggest_int(key, int(low), int(high), step=int(step or 1), log=log)
            else:
                suggested[key] = trial.suggest_float(key, low, high, step=step, log=log)
        return suggested


def setting_pairs(settings: Mapping[str, Value]) -> tuple[str, ...]:
    """Settings as `key=value`, as `fit --set` takes them."""
    return tuple(f"{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in settings.items())


def read_space(path: Path, preset: Config, modalities: Sequence[str], ablation: str | None, given: set[str]) -> Space:
    """Read a search space for a model.

    Args:
        preset: The model's other settings.
        given: Settings that the command line fixes.

    Raises:
        UsageError: Lists everything that is wrong with the file.
    """
    raw = _read_toml(path)
    problems: list[str] = []
    sampler = raw.pop("sampler", "tpe")
    if sampler not in SAMPLERS:
        problems.append(f"sampler is {sampler!r}; valid: {', '.join(SAMPLERS)}")
    settings: dict[str, Range | Choices] = {}
    for key, value in raw.items():
        try:
            settings[key] = _parse_dimension(key, value)
            if key in given:
                raise UsageError(f"{key} is also given on the command line: leave one of them out")
            for checked in settings[key].checked_values:
                with_settings(preset, setting_pairs({key: checked}), modalities, ablation)
        except EmofuseError as error:
            problems.append(str(error))
    if not raw:
        problems.append("it names no setting, such as lr = { low = 1e-5, high = 1e-3, log = true }")
    if sampler == "grid":
        problems += [f"{k} is a range: a grid needs choices" for k, v in settings.items() if isinstance(v, Range)]
    raise_problems(list(dict.fromkeys(problems)), f"--search {path}")
    return Space(sampler=sampler, settings=settings)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--search {path}: {error.strerror}; `emofuse help fitting` shows the format") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--search {path} is not TOML: {error}") from None


def _parse_dimension(key: str, value: Any) -> Range | Choices:
    if isinstance(value, list) and value and all(isinstance(v, int | float | str) for v in value):
        if len(set(value)) < len(value):
            raise UsageError(f"{key}: a choice is given twice in {value}")
        return Choices(values=tuple(value))
    expected = f"{key}: expected choices, [64, 128], or a range, {{ low = 1, high = 8 }}, optionally with log and step"
    if not isinstance(value, dict) or not {"low", "high"} <= set(value) <= {"low", "high", "log", "step"}:
        raise UsageError(expected)
    parsed = Range(**value)
    numbers = [parsed.low, parsed.high, *([] if parsed.step is None else [parsed.step])]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers) or not parsed.low < parsed.high:
        raise UsageError(f"{expected}; low below high")
    if not isinstance(parsed.log, bool):
        raise UsageError(f"{key}: log is {parsed.log!r}; valid: true, false")
    if parsed.log and (parsed.step is not None or parsed.low <= 0):
        raise UsageError(f"{key}: a logarithmic range is above zero and has no step")
    if parsed.step is not None and parsed.step <= 0:
        raise UsageError(f"{key}: step is {parsed.step}, expected a number above 0")
    return parsed
