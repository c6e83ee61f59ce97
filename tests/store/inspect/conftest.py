"""The store that the tests of this folder look into."""

from __future__ import annotations

from pathlib import Path

import pytest
from inspect_samples import two_features


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with two features."""
    return two_features(tmp_path / "s.h5")
