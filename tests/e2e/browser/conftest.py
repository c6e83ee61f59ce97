"""One browser for the tests of each file of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A running Chromium, closed after each file: while Playwright runs, no other test can start an event loop."""
    pytest.importorskip("playwright", reason="tests in a browser need playwright")
    pytest.importorskip("axe_core_python", reason="tests in a browser need axe-core-python")
    from browser_checks import chromium

    with chromium() as running:
        if running is None:
            pytest.skip("no Chromium: install one (apt-get install chromium, or playwright install chromium)")
        yield running
