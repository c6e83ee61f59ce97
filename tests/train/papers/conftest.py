"""The small corpus of the papers' tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import train_samples as samples


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small store and its protocol."""
    path = tmp_path_factory.mktemp("papers")
    samples.store(path / "tiny.h5")
    samples.protocol_file(path)
    return path
