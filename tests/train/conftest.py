"""Pages of runs without their charts, whose drawing takes as long as a short fit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

BLANK_PNG = b"\x89PNG"


@pytest.fixture(scope="module", autouse=True)
def _blank_charts(request: pytest.FixtureRequest) -> Iterator[None]:
    """A module that tests charts is marked `charts`; in the others the pages of runs and tables have blank ones."""
    with pytest.MonkeyPatch.context() as patch:
        if not request.node.get_closest_marker("charts"):
            patch.setattr("emofuse.common.page.render.inline_svg", lambda drawing, name: "<svg></svg>")
            patch.setattr("emofuse.train.runs.run_files.picture", lambda *given: BLANK_PNG)
        yield
