"""Hyper-parameters as frozen dataclasses: each field knows its range, and `--set key=value` reaches every one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, TypeVar, cast

from emofuse.common.errors import EmofuseError, UnknownNameError, UsageError


def setting(
    default: float | str | bool, *, modality: str | None = None, choices: Sequence[str] = (), positive: bool = True
) -> Any:
    """A field of a `Config`.

    Args:
        modality: The setting has an effect only where this modality is used.
        choices: The words a string may be.
        positive: A number must be above zero; otherwise it may be zero.
    """
    return field(default=default, metadata={"modality": modality, "choices": tuple(choices), "positive": positive})


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What every model's training needs."""

    steps: int = setting(2500)
    lr: float = setting(1e-4)
    batch: int = setting(32)
    weight_decay: float = setting(0.0, positive=False)


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
    used = {None, *modalities}
    return {f.name: getattr(config, f.name) for f in fields(config) if f.metadata["modality"] in used}


def with_settings(config: C, pairs: Iterable[str], modalities: Sequence[str]) -> C:
    """The config with `key=value` pairs applied.

    Raises:
        UsageError: Pairs that are malformed, unknown (alone: `UnknownNameError`), without effect here, or out of range;
            all are named.
    """
    problems: list[EmofuseError] = []
    known = {f.name: f for f in fields(config)}
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = (part.strip() for part in pair.partition("="))
        try:
            if not equals:
                raise UsageError(f"--set {pair}: expected key=value")
            if key not in known:
                raise UnknownNameError("setting", key, settings_of(config, modalities))
            wanted = known[key].metadata["modality"]
            if wanted is not None and wanted not in modalities:
                raise UsageError(f"--set {key}: without effect, since no {wanted} is used")
            if key in values:
                raise UsageError(f"{key} is given twice")
            values[key] = _value(known[key], text)
        except EmofuseError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise UsageError("\n  - ".join(["wrong settings:", *map(str, problems)]))
    return replace(config, **values)


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
    return number
