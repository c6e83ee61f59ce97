"""The list of what a command excluded."""

from __future__ import annotations

import pytest

from emofuse.common.errors import DONE, EXCLUDED
from emofuse.extract.audio.exclusions import report_excluded
from emofuse.manifests.schema import Excluded


@pytest.mark.parametrize(("count", "headline"), [(1, "1 item excluded:"), (2, "2 items excluded:")])
def test_items_are_counted_and_listed(count: int, headline: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert report_excluded([Excluded(id=f"c{i}", reason="no sound") for i in range(count)]) == EXCLUDED
    lines = capsys.readouterr().err.splitlines()
    assert lines == [headline, *(f"  c{i}: no sound" for i in range(count))]


def test_nothing_is_printed_where_nothing_is_excluded(capsys: pytest.CaptureFixture[str]) -> None:
    assert report_excluded([]) == DONE
    assert capsys.readouterr().err == ""
