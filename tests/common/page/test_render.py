"""A page: self-contained, every text escaped, only safe links."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from emofuse.common.charts.matrix import matrix
from emofuse.common.page.blocks import (
    Chart,
    ClassName,
    Column,
    Details,
    Example,
    Examples,
    Link,
    Page,
    PagedTable,
    Section,
    Sound,
    Table,
    Text,
)
from emofuse.common.page.render import render, shown_number

ATTACK = "</script><img src=x onerror=alert(1)>"


def page(*blocks: object) -> Page:
    return Page(title=ATTACK, sections=[Section(name="one", title=ATTACK, blocks=blocks)])


def test_texts_that_look_like_html_stay_text() -> None:
    columns = [Column(name=ATTACK), Column(name="class", filter=True)]
    rows = [[ATTACK, ClassName(name=ATTACK)]]
    chart = matrix(np.eye(2), [ATTACK, "$x$"], [ATTACK, "b"], texts=np.array([[ATTACK] * 2] * 2))
    html = render(
        page(
            Text(lines=[ATTACK]),
            Table(name="t", title=ATTACK, columns=columns, rows=rows),
            PagedTable(name="p", title=ATTACK, columns=columns, rows=rows),
            Chart(name="c", title=ATTACK, alt=ATTACK, drawing=chart),
        )
    )
    assert "<img" not in html
    data = re.search(r'class="rows">(.*?)</script>', html, re.DOTALL)
    assert data
    assert json.loads(data[1])["rows"] == [[ATTACK, ATTACK]]


def test_a_page_names_no_other_host_and_ids_are_unique() -> None:
    chart = matrix(np.eye(2), "ab", "ab")
    html = render(page(*(Chart(name=f"c{i}", title="t", alt="a", drawing=chart) for i in range(2))))
    assert not re.search(r'(?:src|href)="(?:https?:)?//', html.replace('href="http://www.w3.org', ""))
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    "href",
    [
        "javascript:alert(1)",
        "JAVASCRIPT:alert(1)",
        " javascript:alert(1)",
        "java\tscript:alert(1)",
        "//evil.org/x",
        "/\\evil.org/x",
        "\\\\evil.org/x",
        "data:text/html,x",
    ],
)
def test_a_link_that_runs_something_is_refused(href: str) -> None:
    with pytest.raises(ValueError, match="not a link of a page"):
        render(page(Table(name="t", title="t", columns=[Column(name="a")], rows=[[Link(text="x", href=href)]])))


def test_the_page_says_when_its_recordings_are_elsewhere() -> None:
    def made(*sounds: str) -> str:
        example = Example(id="a", facts=(), sound=Sound(href=sounds[1]) if sounds[1:] else None)
        cells = [[Sound(href=href)] for href in sounds[:1]]
        blocks = [
            PagedTable(name="t", title="t", columns=[Column(name="recording")], rows=cells),
            Details(title="d", blocks=[Examples(title="e", examples=[example])]),
        ]
        return render(Page(title="t", sections=[Section(name="s", title="s", blocks=blocks)]))

    for sounds in ((), ("data:audio/mpeg;base64,",)):
        assert "This file needs no network and no other file." in made(*sounds)
    for sounds in (("a.wav",), ("data:audio/mpeg;base64,", "../a.wav")):
        assert "It plays recordings of the corpus&#39;s folder: move both together." in made(*sounds)


def test_large_whole_numbers_have_separators() -> None:
    shown = [shown_number(value, Column(name="n")) for value in (9999, 2228108, -12345, 0.5)]
    assert shown == ["9999", "2,228,108", "-12,345", "0.5"]
    assert shown_number(12345, Column(name="n", decimals=1)) == "12345.0"
