"""Shared fixtures: where the real material lies, and a fixed seed for every test."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from paths import SHARED

# A shell that starts this suite in the background has it ignore Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same inputs in every run; --hypothesis-profile=default draws new ones.
settings.register_profile("fixed", derandomize=True)
settings.load_profile("fixed")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real corpora, metadata and transcripts that lies beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"no real material at {SHARED}")
    return SHARED
