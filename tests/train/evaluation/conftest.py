"""What the tests of `evaluate` share: the small corpus of the other tests, and another one."""

from __future__ import annotations

from pathlib import Path

import pytest
import train_samples as samples
from evaluation_samples import other_store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `tiny.h5`, its protocol, and the store `other.h5` of the other corpus."""
    made = tmp_path_factory.mktemp("evaluate")
    samples.store(made / "tiny.h5")
    samples.protocol_file(made)
    other_store(made / "other.h5")
    return made
