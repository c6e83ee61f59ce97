"""`--set`: every setting of every model can be set, is checked, and has an effect or is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.train.models.config import Config, SequenceConfig, settings_of, with_settings
from emofuse.train.models.registry import MODELS

BOTH = ("audio", "text")
SETTINGS = [
    pytest.param(entry.value, field, id=f"{entry.name}-{field.name}")
    for entry in MODELS
    for field in dataclasses.fields(entry.value.preset("iemocap"))
    if field.name not in entry.value.preset("iemocap").idle()
]


SUMS = {"alpha": "gamma", "beta": "gamma", "gamma": "alpha"}
"""Weights that sum to one -> the one that is lowered when they are raised."""


def others(config: Config, field: Any) -> list[tuple[Any, list[str]]]:
    """Values other than the preset's, each with the pairs that set it; at least one of them must be valid."""
    value = getattr(config, field.name)
    if field.metadata["choices"]:
        return [(word, [f"{field.name}={word}"]) for word in field.metadata["choices"] if word != value]
    if isinstance(value, bool):
        return [(not value, [f"{field.name}={str(not value).lower()}"])]
    if field.name in SUMS:
        other = SUMS[field.name]
        return [(value + 0.125, [f"{field.name}={value + 0.125}", f"{other}={getattr(config, other) - 0.125}"])]
    numbers = [type(value)(n) for n in (2 * value, value + 1, value / 2, 1, value + 0.25, 8)]
    return [(n, [f"{field.name}={n}"]) for n in numbers if n != value]


@pytest.mark.parametrize(("spec", "field"), SETTINGS)
def test_every_setting_can_be_set(spec: Any, field: Any) -> None:
    preset, refused = spec.preset("iemocap"), []
    for value, pairs in others(preset, field):
        try:
            found = with_settings(preset, pairs, BOTH)
        except UsageError as error:
            refused.append(str(error))
            continue
        assert getattr(found, field.name) == value
        assert type(getattr(found, field.name)) is type(field.default)
        return
    pytest.fail("; ".join(refused))


@pytest.mark.parametrize(("spec", "field"), SETTINGS)
def test_invalid_values_are_refused(spec: Any, field: Any) -> None:
    with pytest.raises(UsageError, match=field.name):
        with_settings(spec.preset("iemocap"), [f"{field.name}=nonsense"], BOTH)


@pytest.mark.parametrize(("spec", "field"), SETTINGS)
def test_numbers_below_their_range_are_refused(spec: Any, field: Any) -> None:
    if isinstance(field.default, bool | str):
        return
    wrong = ["-1", "inf"] + (["0"] if field.metadata["positive"] else [])
    for text in wrong:
        with pytest.raises(UsageError, match=field.name):
            with_settings(spec.preset("iemocap"), [f"{field.name}={text}"], BOTH)


def test_zero_is_a_valid_weight_decay_but_not_a_valid_learning_rate() -> None:
    assert with_settings(Config(weight_decay=0.1), ["weight_decay=0"], BOTH).weight_decay == 0
    with pytest.raises(UsageError, match="lr is 0; expected a number above 0"):
        with_settings(Config(), ["lr=0"], BOTH)


@pytest.mark.parametrize("modality", BOTH)
def test_a_setting_of_an_unused_modality_is_refused_and_not_listed(modality: str) -> None:
    other = "text" if modality == "audio" else "audio"
    mine = {f.name for f in dataclasses.fields(SequenceConfig) if f.metadata["modality"] == modality}
    assert len(mine) == 2
    assert not mine & set(settings_of(SequenceConfig(), [other]))
    assert mine <= set(settings_of(SequenceConfig(), [modality]))
    for name in mine:
        with pytest.raises(UsageError, match=f"without effect, since no {modality} is used"):
            with_settings(SequenceConfig(), [f"{name}=1"], [other])


def test_every_wrong_pair_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        with_settings(Config(), ["lr=x", "bacth=3", "steps", "steps=2"], BOTH)
    message = str(caught.value)
    assert all(part in message for part in ("lr is 'x'", "'bacth'", "Did you mean 'batch'?", "--set steps: expected"))


@pytest.mark.parametrize(
    ("model", "pairs", "message"),
    [
        ("smcn", ["classified=intra", "phi_2=multiply"], "--set phi_2: without effect, since classified=intra"),
        ("smcn", ["classified=second", "phi_1=multiply"], "--set phi_1: without effect, since classified=second"),
        ("mmrbn", ["fusion=add", "ratio=8"], "--set ratio: without effect, since fusion=add"),
    ],
)
def test_a_setting_that_another_one_disables_is_refused_and_not_listed(
    model: str, pairs: list[str], message: str
) -> None:
    preset = MODELS[model].preset("iemocap")
    with pytest.raises(UsageError, match=message):
        with_settings(preset, pairs, BOTH)
    found = with_settings(preset, pairs[:1], BOTH)
    assert pairs[1].partition("=")[0] not in settings_of(found, BOTH)


@pytest.mark.parametrize("entry", list(MODELS), ids=lambda e: e.name)
def test_every_ablation_is_a_valid_config_and_its_settings_are_fixed(entry: Any) -> None:
    for name, ablation in entry.value.ablations.items():
        preset = dataclasses.replace(entry.value.preset("iemocap"), **ablation.settings)
        modalities = ablation.modalities or entry.value.modalities
        assert with_settings(preset, [], modalities, name, ablation.settings) == preset
        for key, value in ablation.settings.items():
            if key in settings_of(preset, modalities):
                with pytest.raises(UsageError, match=f"--set {key}: ablation '.*' has set it to"):
                    with_settings(preset, [f"{key}={value}"], modalities, name, ablation.settings)


def test_one_unknown_key_keeps_its_own_error() -> None:
    with pytest.raises(UnknownNameError, match="Valid: balance, batch, clip, ema, epochs"):
        with_settings(Config(), ["dropout=0.1"], BOTH)


def test_a_key_is_set_once() -> None:
    with pytest.raises(UsageError, match=r"lr is given twice, as 1\.0 and as 2: pass one"):
        with_settings(Config(), ["lr=1", "lr=2"], BOTH)


def test_spaces_around_the_equals_sign_do_not_matter_and_the_preset_is_unchanged() -> None:
    preset = Config()
    assert with_settings(preset, [" lr = 3e-4 "], BOTH).lr == 3e-4
    assert preset.lr == 1e-4


@pytest.mark.parametrize("entry", list(MODELS), ids=lambda e: e.name)
@pytest.mark.parametrize("corpus", ["iemocap", "meld", "emodb", ""])
def test_presets_are_within_their_own_ranges(entry: Any, corpus: str) -> None:
    preset = entry.value.preset(corpus)
    pairs = [f"{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in settings_of(preset, BOTH).items()]
    assert with_settings(preset, pairs, BOTH) == preset
