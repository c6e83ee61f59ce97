"""Hyper-parameters as frozen dataclasses. Each field declares its range, and `--set key=value` can set every one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
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
    optional: bool = False,
) -> Any:
    """A field of a `Config`.

    Args:
        default: The value that presets start from; its type is the type of the setting.
        modality: The setting has an effect only if this modality is used; `both` means only if both are.
        choices: The valid values of a string.
        positive: Whether a number must be above zero; otherwise it may be zero.
        most: The largest valid number.
        optional: It changes how a model is trained, and is off by default (zero, if it is a number). Only runs that
            change it record it, so that runs of earlier versions stay the same runs.
    """
    metadata = {
        "modality": modality,
        "choices": tuple(choices),
        "positive": positive and not optional,
        "most": most,
        "optional": optional,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of every model; docs/how-to/fitting.md describes the optional ones."""

    steps: int = setting(2500, positive=False)
    epochs: float = setting(0.0, positive=False)
    """Passes over the training side, instead of `steps`; one of the two is zero."""
    lr: float = setting(1e-4)
    batch: int = setting(32)
    weight_decay: float = setting(0.0, positive=False)
    optimiser: str = setting("adam", optional=True, choices=("adam", "adamw"))
    schedule: str = setting("constant", optional=True, choices=("constant", "linear", "cosine", "plateau"))
    """How the learning rate falls from `lr`."""
    warmup: float = setting(0.0, optional=True, most=0.9)
    """The share of the training in which the learning rate rises to `lr`."""
    clip: float = setting(0.0, optional=True)
    """The largest L2 norm of the gradient of all weights together; 0 for any norm."""
    ema: float = setting(0.0, optional=True, most=0.99999)
    """Decay of the moving average of the weights that is evaluated in place of the weights; 0 for none."""
    swa: float = setting(0.0, optional=True, most=1.0)
    """The share of the training, at its end, over which the evaluated weights are averaged; 0 for none."""
    patience: int = setting(0, optional=True)
    """Training stops after this many evaluations in a row without a better one; 0 for never."""
    label_smoothing: float = setting(0.0, optional=True, most=0.9)
    focal: float = setting(0.0, optional=True)
    """The exponent of the focal loss; 0 is cross-entropy."""
    logit_adjustment: float = setting(0.0, optional=True)
    """How many times the logarithm of the training side's class shares is added to the logits in the loss."""
    mixup: float = setting(0.0, optional=True)
    """Both parameters of the Beta distribution of the mixing weight; 0 for no mixing."""
    modality_dropout: float = setting(0.0, optional=True, modality="both", most=0.9)
    """How probable it is that one of the two modalities of a training utterance is zero."""
    loss: str = setting("auto", optional=True, choices=("auto", "cross_entropy", "kl", "bce", "ccc", "mse", "mae"))
    """What the target's loss is; `auto` is the first one that its kind allows (`criterion.LOSSES`)."""
    ratings_weight: float = setting(1.0, optional=True)
    """The weight of the loss of the dimensions beside that of the class, of a target with both."""
    rater_dropout: float = setting(0.0, optional=True, most=1.0)
    """How probable it is that one random vote of a training utterance is left out, of a target of votes."""
    balance: str = setting("none", optional=True, choices=("none", "class", "speaker"))
    """Of what each one is drawn equally often."""

    def total_steps(self, training: int) -> int:
        """Training steps for `training` utterances."""
        return self.steps or max(1, math.ceil(self.epochs * training / min(self.batch, training)))

    def problems(self, ablation: str | None) -> list[str]:
        """Conflicts between these settings, one line each; `ablation` is the name of the ablation in use, if any."""
        return []

    def modality_problems(self, modalities: Sequence[str]) -> list[str]:
        """Conflicts between these settings and the modalities in use, one line each."""
        return []

    def idle(self) -> dict[str, str]:
        """Setting without effect -> the reason, in most cases the setting that disables it, as `key=value`."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceConfig(Config):
    """The settings of models that read frame by frame: the length of an utterance, and standardisation."""

    max_frames: int = setting(500, modality="audio")
    max_words: int = setting(150, modality="text")
    standardise_audio: str = setting("auto", modality="audio", choices=("auto", "on", "off"))
    """Scale each dimension to mean 0, deviation 1 over the fold's training side; `auto` does so only for log-Mel."""
    standardise_text: str = setting("off", modality="text", choices=("auto", "on", "off"))
    mask_time: float = setting(0.0, optional=True, most=0.9)
    """The largest share of the frames (or words) of a training utterance that are zero, in one span."""
    mask_features: float = setting(0.0, optional=True, most=0.9)
    """The largest share of neighbouring feature dimensions that are zero in a training utterance."""


CROSS_ENTROPY = ("label_smoothing", "focal", "logit_adjustment")
"""The settings that change the cross-entropy of `FusionModel`; without effect on a model that does not use it."""


def shortened(config: Config, preset: Config, training: int) -> dict[str, Any]:
    """By how much a config trains less than its preset, JSON-ready; empty where it does not.

    Args:
        config: The settings of a fit.
        preset: Those that the model has by default.
        training: How many utterances train, by which epochs are steps where only one of the two has epochs.
    """
    unit = "epochs" if config.epochs and preset.epochs else "steps"
    given, full = (c.epochs if unit == "epochs" else c.total_steps(training) for c in (config, preset))
    option = "--epochs" if config.epochs else "--steps"
    return {unit: given, "preset": full, "option": option} if given < full else {}


C = TypeVar("C", bound=Config)


def longest_input(config: Config, modality: str) -> int | None:
    """How many frames or words of an utterance a model uses at most; None where it uses all of them."""
    if not isinstance(config, SequenceConfig):
        return None
    return config.max_frames if modality == "audio" else config.max_words


def settings_of(config: Config, modalities: Iterable[str]) -> dict[str, Any]:
    """The settings that have an effect with these modalities, and their values; optional ones where they are on."""
    return {name: getattr(config, name) for name in effective(config, modalities) if not _is_off(config, name)}


def effective(config: Config, modalities: Iterable[str]) -> dict[str, Field[Any]]:
    """The settings that have an effect with these modalities, the optional ones too."""
    used, idle = _used(modalities), config.idle()
    return {f.name: f for f in fields(config) if f.metadata["modality"] in used and f.name not in idle}


def recorded(config: Config) -> dict[str, Any]:
    """All settings and their values, but the optional ones only where they are on."""
    return {f.name: getattr(config, f.name) for f in fields(config) if not _is_off(config, f.name)}


def is_optional(known: Field[Any]) -> bool:
    """Whether a setting is off by default and changes the training, not the model."""
    return bool(known.metadata["optional"])


def _is_off(config: Config, name: str) -> bool:
    known = config.__dataclass_fields__[name]
    return is_optional(known) and getattr(config, name) == known.default


def _used(modalities: Iterable[str]) -> set[str | None]:
    """The values of `setting`'s `modality` that have an effect with these modalities."""
    used: set[str | None] = {None, *modalities}
    return used | ({"both"} if {"audio", "text"} <= used else set())


def with_settings(
    config: C,
    pairs: Iterable[str],
    modalities: Sequence[str],
    ablation: str | None = None,
    fixed: Iterable[str] = (),
    conflicts: Callable[[C], Iterable[str]] = lambda config: (),
) -> C:
    """Apply `key=value` pairs to a config.

    Args:
        config: The preset, with the settings of the ablation.
        pairs: As given to `--set`.
        modalities: The modalities in use.
        ablation: Name of the ablation in use.
        fixed: Settings that the ablation fixes.
        conflicts: Gives the conflicts of settings with what is not a setting, one line each.

    Raises:
        UsageError: Pairs that are malformed, unknown (`UnknownNameError` if that is the only problem), without effect,
            fixed by the ablation, out of range, or in conflict; lists all of them.
    """
    known = {f.name: f for f in fields(config)}
    fixed = set(fixed)
    values: dict[str, Any] = {}
    problems: list[EmofuseError] = []
    for pair in pairs:
        key, equals, text = (part.strip() for part in pair.partition("="))
        try:
            if not equals:
                raise UsageError(f"--set {pair}: expected key=value")
            if key not in known:
                raise UnknownNameError("setting", key, effective(config, modalities))
            _require_modality(known[key], modalities)
            if key in fixed:
                raise UsageError(f"--set {key}: ablation {ablation!r} has set it to {getattr(config, key)}")
            if key in values:
                raise UsageError(_given_twice(key, values[key], text))
            values[key] = _parsed(known[key], text)
        except EmofuseError as error:
            problems.append(error)
    if not problems:
        config = replace(config, **_with_one_length(values))
        idle = config.idle()
        lines = [f"--set {k}: without effect, since {idle[k]}" for k in values if k in idle]
        lines += [*_length_problems(config), *_training_problems(config), *config.problems(ablation)]
        lines += config.modality_problems(modalities)
        lines += conflicts(config)
        problems = [UsageError(line) for line in lines]
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise UsageError("\n  - ".join(["wrong settings:", *map(str, problems)]))
    return config


def _given_twice(key: str, first: object, second: str) -> str:
    equal = f" (--{key} and --set {key} are the same)" if key in ("steps", "epochs") else ""
    return f"{key} is given twice{equal}, as {first} and as {second}: pass one"


def _require_modality(known: Field[Any], modalities: Sequence[str]) -> None:
    """Refuse a setting whose modality is not in use."""
    modality = known.metadata["modality"]
    if modality not in _used(modalities):
        needed = ("audio", "text") if modality == "both" else (modality,)
        absent = " and no ".join(m for m in needed if m not in modalities)
        raise UsageError(f"--set {known.name}: without effect, since no {absent} is used")


def _with_one_length(values: dict[str, Any]) -> dict[str, Any]:
    """Set `epochs` to zero where only `steps` is given, and `steps` to zero where only `epochs` is."""
    given = [key for key in ("steps", "epochs") if key in values]
    if len(given) != 1:
        return values
    return values | ({"epochs": 0.0} if given == ["steps"] else {"steps": 0})


def _length_problems(config: Config) -> list[str]:
    if bool(config.steps) != bool(config.epochs):
        return []
    which = "both" if config.steps else "neither"
    return [
        f"steps={config.steps} and epochs={config.epochs:g}: {which} given; give one of the two (--steps, --epochs)"
    ]


def _training_problems(config: Config) -> list[str]:
    """Optional settings that exclude each other."""
    exclusive = {
        ("ema", "swa"): "both average the evaluated weights",
        ("swa", "patience"): "swa averages the end of a training, and patience may stop it before",
        ("label_smoothing", "focal"): "the focal loss weighs the one true class, and smoothing makes several true",
        ("balance", "logit_adjustment"): "both correct for unequal classes",
    }
    return [
        f"{' and '.join(f'{key}={getattr(config, key)}' for key in pair)}: {reason}; give one of the two"
        for pair, reason in exclusive.items()
        if not any(_is_off(config, key) for key in pair) and (pair[0] != "balance" or config.balance == "class")
    ]


def _parsed(known: Field[Any], text: str) -> float | str | bool:
    """A setting's value from its text, checked against the field's range."""
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
        expected = "a whole number" if kind is int else "a number"
        raise UsageError(f"{known.name} is {text!r}; expected {expected}") from None
    positive = known.metadata["positive"]
    if not math.isfinite(number) or number < 0 or (positive and number == 0):
        raise UsageError(f"{known.name} is {text}; expected a number {'above' if positive else 'of at least'} 0")
    if number > known.metadata["most"]:
        raise UsageError(f"{known.name} is {text}; expected a number of at most {known.metadata['most']:g}")
    return number
