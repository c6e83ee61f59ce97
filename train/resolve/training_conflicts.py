"""Settings of the training that cannot be combined with other options of a fit."""

from __future__ import annotations

from emofuse.train.models.base import ModelSpec
from emofuse.train.models.config import Config, SequenceConfig
from emofuse.train.resolve.config import FitConfig


def training_conflicts(config: FitConfig, spec: ModelSpec, settings: Config) -> list[str]:
    """What excludes each other, one line each, with the reason and what to do."""
    found = []
    plateau = settings.schedule == "plateau"
    if config.select == "last":
        watching = ["schedule=plateau"] * plateau + [f"patience={settings.patience}"] * bool(settings.patience)
        found += [
            f"{setting} follows the validation score, and with --select last there is no validation side: "
            "leave one of the two out"
            for setting in watching
        ]
    if config.final and plateau:
        found.append(
            "schedule=plateau follows the validation score, and --final trains on all data without validation: "
            "choose another schedule, or leave --final out"
        )
    if config.class_weights != "none":
        correcting = ["balance=class"] * (settings.balance == "class")
        correcting += [f"logit_adjustment={settings.logit_adjustment:g}"] * bool(settings.logit_adjustment)
        found += [
            f"{setting} and --class-weights {config.class_weights} both correct for unequal classes: "
            "give one of the two"
            for setting in correcting
        ]
    if config.layers == "weighted" and isinstance(settings, SequenceConfig) and settings.mask_features:
        found.append(
            "mask_features masks neighbouring dimensions, and --layers weighted puts the dimensions of all layers end "
            "to end: give one of the two"
        )
    if config.augmented and config.standardise == "speaker":
        found.append(
            "--standardise speaker takes the mean of a speaker's own clips, and --augmented adds changed copies of "
            "them: give one of the two"
        )
    if spec.context:
        single = [f"mixup={settings.mixup:g}"] * bool(settings.mixup)
        single += [f"balance={settings.balance}"] * (settings.balance != "none")
        single += ["--augmented"] * bool(config.augmented)
        found += [
            f"{option} draws or mixes single utterances, and model {config.model} draws whole dialogues: "
            "leave it out, or choose another model"
            for option in single
        ]
    return found
