"""Links of a page to other files, and opening it."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import pytest

from emofuse.common.page.links import open_page, relative_link
from emofuse.common.page.render import safe_link


@pytest.mark.parametrize(
    ("file", "link"),
    [
        ("runs/a/report.html", "./runs/a/report.html"),
        ("../other/a b#1?.html", "../other/a%20b%231%3F.html"),
        ("javascript:alert(1)/x.html", "./javascript%3Aalert%281%29/x.html"),
        ("new/../é.html", "./%C3%A9.html"),
    ],
)
def test_links_are_relative_to_the_page_and_quoted(tmp_path: Path, file: str, link: str) -> None:
    found = relative_link(tmp_path / "page" / file, tmp_path / "page")
    assert found == link
    assert safe_link(link) == link


def test_without_a_browser_the_page_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    open_page(tmp_path / "page.html", lines.append)
    assert lines == [f"note: no browser was found here: open {tmp_path / 'page.html'} in one"]
