"""`--set`: every setting of every model can be reached, is checked, and has an effect or is refused."""

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
]


def another(field: Any) -> tuple[str, Any]:
    """A valid value that is not the default: as typed, and as it arrives."""
    if field.metadata["choices"]:
        word = next(c for c in field.metadata["choices"] if c != field.default)
        return word, word
    if isinstance(field.default, bool):
        return str(not field.default).lower(), not field.default
    return str(field.default + 3), field.default + 3


@pytest.mark.parametrize(("spec", "field"), SETTINGS)
def test_every_setting_can_be_set(spec: Any, field: Any) -> None:
    typed, value = another(field)
    found = with_settings(spec.preset("iemocap"), [f"{field.name}={typed}"], BOTH)
    assert getattr(found, field.name) == value
    assert type(getattr(found, field.name)) is type(field.default)


@pytest.mark.parametrize(("spec", "field"), SETTINGS)
def test_no_setting_takes_nonsense(spec: Any, field: Any) -> None:
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


def test_zero_is_a_weight_decay_but_no_learning_rate() -> None:
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


def test_one_unknown_key_keeps_its_own_error() -> None:
    with pytest.raises(UnknownNameError, match="Valid: batch, epochs, lr, steps, weight_decay"):
        with_settings(Config(), ["dropout=0.1"], BOTH)


def test_a_key_is_set_once() -> None:
    with pytest.raises(UsageError, match="lr is given twice"):
        with_settings(Config(), ["lr=1", "lr=2"], BOTH)


def test_spaces_around_the_sign_do_not_matter_and_the_preset_stays() -> None:
    preset = Config()
    assert with_settings(preset, [" lr = 3e-4 "], BOTH).lr == 3e-4
    assert preset.lr == 1e-4


@pytest.mark.parametrize("entry", list(MODELS), ids=lambda e: e.name)
@pytest.mark.parametrize("corpus", ["iemocap", "meld", "emodb", ""])
def test_presets_are_within_their_own_ranges(entry: Any, corpus: str) -> None:
    preset = entry.value.preset(corpus)
    pairs = [f"{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in settings_of(preset, BOTH).items()]
    assert with_settings(preset, pairs, BOTH) == preset
