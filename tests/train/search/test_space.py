"""Search spaces: which values of a range are checked before the search."""

from __future__ import annotations

from pathlib import Path

import pytest

from emofuse.common.errors import UsageError
from emofuse.train.models.registry import MODELS
from emofuse.train.search.space import Range, Space, read_space


def read(folder: Path, text: str) -> Space:
    (folder / "space.toml").write_text(text)
    return read_space(folder / "space.toml", MODELS["concat"].preset("iemocap"), ("audio", "text"), None, set())


def test_the_ends_of_a_range_and_its_second_value_are_checked() -> None:
    assert Range(low=8, high=24, step=8).checked_values == (8, 24, 16)
    assert Range(low=1e-5, high=1e-3, log=True).checked_values == (1e-5, 1e-3)


def test_a_range_may_start_one_step_above_an_invalid_value(tmp_path: Path) -> None:
    space = read(tmp_path, "batch = { low = 8, high = 24, step = 8 }")
    assert space.settings == {"batch": Range(low=8, high=24, step=8)}


def test_a_step_that_leaves_the_whole_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"batch is '8\.5'; expected a whole number"):
        read(tmp_path, "batch = { low = 8, high = 24, step = 0.5 }")
