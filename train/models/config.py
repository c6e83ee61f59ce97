"""Hyper-parameters as frozen dataclasses: each field knows its range, and `--set key=value` reaches every one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, TypeVar, cast

from emofuse.common.errors import EmofuseError, UnknownNameError, UsageError


def setting(
    default: float | str | bool,
    *,
    modality: str | None = None,
    choices: Sequence[str] = (),
    positive: bool = True,
    most: float = math.inf,
) -> Any:
    """A field of a `Config`.

    Args:
        modality: The setting has an effect only where this modality is used; `both`: only where both are.
        choices: The words a string may be.
        positive: A number must be above zero; otherwise it may be zero.
        most: A number must not be above this.
    """
    metadata = {"modality": modality, "choices": tuple(choices), "positive": positive, "most": most}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What every model's training needs."""

    steps: int = setting(2500, positive=False)
    epochs: float = setting(0.0, positive=False)
    """Passes over the training side, in place of `steps`; one of the two is zero."""
    lr: float = setting(1e-4)
    batch: int = setting(32)
    weight_decay: float = setting(0.0, positive=False)

    def total_steps(self, training: int) -> int:
        """How many steps are trained on `training` utterances."""
        return self.steps or max(1, math.ceil(self.epochs * training / min(self.batch, training)))

    def problems(self, ablation: str | None) -> list[str]:
        """What does not fit together in these settings, under a named ablation or none; one line each."""
        return []

    def idle(self) -> dict[str, str]:
        """Settings that have no effect beside the others, and the one that makes them so."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceConfig(Config):
    """What models that read frame by frame add: how much of an utterance they see, and in which units."""

    max_frames: int = setting(500, modality="audio")
    max_words: int = setting(150, modality="text")
    standardise_audio: str = setting("auto", modality="audio", choices=("auto", "on", "off"))
    """Each dimension to mean 0, deviation 1 by the training side of the fold; `auto`: where the feature is log-Mel."""
    standardise_text: str = setting("off", modality="text", choices=("auto", "on", "off"))


C = TypeVar("C", bound=Config)


def settings_of(config: Config, modalities: Iterable[str]) -> dict[str, Any]:
    """The settings that have an effect with these modalities, as they stand."""
    used, idle = _used(modalities), config.idle()
    return {
        f.name: getattr(config, f.name) for f in fields(config) if f.metadata["modality"] in used and f.name not in idle
    }


def _used(modalities: Iterable[str]) -> set[str | None]:
    used: set[str | None] = {None, *modalities}
    return used | ({"both"} if {"audio", "text"} <= used else set())


def with_settings(
    config: C, pairs: Iterable[str], modalities: Sequence[str], ablation: str | None = None, fixed: Iterable[str] = ()
) -> C:
    """The config with `key=value` pairs applied.

    Args:
        ablation: The named ablation that the config stands for, and `fixed`, the settings that it has set.

    Raises:
        UsageError: Pairs that are malformed, unknown (alone: `UnknownNameError`), without effect here, fixed by the
            ablation, out of range, or that do not fit together; all are named.
    """
    problems: list[EmofuseError] = []
    known = {f.name: f for f in fields(config)}
    fixed = set(fixed)
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = (part.strip() for part in pair.partition("="))
        try:
            if not equals:
                raise UsageError(f"--set {pair}: expected key=value")
            if key not in known:
                raise UnknownNameError("setting", key, settings_of(config, modalities))
            wanted = known[key].metadata["modality"]
            if wanted not in _used(modalities):
                lacking = ("audio", "text") if wanted == "both" else (wanted,)
                absent = " and no ".join(m for m in lacking if m not in modalities)
                raise UsageError(f"--set {key}: without effect, since no {absent} is used")
            if key in fixed:
                raise UsageError(f"--set {key}: ablation {ablation!r} has set it to {getattr(config, key)}")
            if key in values:
                raise UsageError(f"{key} is given twice")
            values[key] = _value(known[key], text)
        except EmofuseError as error:
            problems.append(error)
    if not problems:
        config = replace(config, **_one_length(values))
        idle = config.idle()
        wrong = [f"--set {k}: without effect, since {idle[k]}" for k in values if k in idle]
        wrong += [*_lengths(config), *config.problems(ablation)]
        problems = [UsageError(line) for line in wrong]
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise UsageError("\n  - ".join(["wrong settings:", *map(str, problems)]))
    return config


def _one_length(values: dict[str, Any]) -> dict[str, Any]:
    """Whoever gives steps alone means no epochs, and the other way round."""
    given = {k: v for k, v in values.items() if k in ("steps", "epochs")}
    if len(given) == 1:
        (one,) = given
        return values | ({"epochs": 0.0} if one == "steps" else {"steps": 0})
    return values


def _lengths(config: Config) -> list[str]:
    if bool(config.steps) != bool(config.epochs):
        return []
    said = "both" if config.steps else "neither"
    return [f"steps={config.steps} and epochs={config.epochs:g}: {said} given; give one of the two (--steps, --epochs)"]


def _value(known: Field[Any], text: str) -> float | str | bool:
    kind, choices = cast(type, type(known.default)), known.metadata["choices"]
    if kind is str:
        if text not in choices:
            raise UsageError(f"{known.name} is {text!r}; valid: {', '.join(choices)}")
        return text
    if kind is bool:
        if text not in ("true", "false"):
            raise UsageError(f"{known.name} is {text!r}; valid: true, false")
        return text == "true"
    try:
        number = int(text) if kind is int else float(text)
    except ValueError:
        raise UsageError(
            f"{known.name} is {text!r}; expected {'a whole number' if kind is int else 'a number'}"
        ) from None
    positive = known.metadata["positive"]
    if not math.isfinite(number) or number < 0 or (positive and number == 0):
        raise UsageError(f"{known.name} is {text}; expected a number {'above' if positive else 'of at least'} 0")
    if number > known.metadata["most"]:
        raise UsageError(f"{known.name} is {text}; expected a number of at most {known.metadata['most']:g}")
    return number
