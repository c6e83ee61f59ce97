"""The page of a folder of runs in a real browser: filters, order, links and bars."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from paths import ROOT

from emofuse.common.page.render import render
from emofuse.train.leaderboard.leaderboard_page import leaderboard_page

RUN = ROOT / "tests" / "archives" / "run-v0.1.0" / "runs" / "tiny4-concat-66db0bd5"
ATTACK = "<img src=x onerror=alert(1)>"
COUNT = 40
TABLE = "#table-runs-1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of version 0.1.0 as forty: of three models, some short of something, one without a page first."""
    folder = tmp_path_factory.mktemp("runs #1 100%")
    for number in range(COUNT):
        run = folder / (f"{number:02d}" if number else f"{ATTACK} #0")
        shutil.copytree(RUN, run)
        metrics = json.loads((run / "metrics.json").read_text())
        metrics["model"] = ("concat", "audio", ATTACK)[number % 3]
        metrics["pooled"]["ua"] = 0.9 - number / 100
        if number % 2:
            (run / "report.html").write_text("a page")
            metrics["reduced"] = {"found": 1, "expected": 2}
        if number % 4 == 0:
            metrics["near_duplicates"] = [{"test": "a"}]
        (run / "metrics.json").write_text(json.dumps(metrics))
    (folder / "broken").symlink_to(folder / "nowhere")
    (folder / "report.html").write_text(render(leaderboard_page(folder)), encoding="utf-8")
    return folder


@pytest.fixture
def page(browser: Any, folder: Path) -> Iterator[Any]:
    from browser_checks import opened

    with opened(browser, folder / "report.html") as (page, problems):
        yield page
        page.wait_for_timeout(50)
        assert problems == []


def cells(page: Any, column: int) -> list[str]:
    """The first line of each cell of a column."""
    found: list[str] = page.locator(f"{TABLE} tbody tr > :nth-child({column})").all_inner_texts()
    return [text.strip().split("\n")[0] for text in found]


def test_it_is_sound(browser: Any, folder: Path) -> None:
    from browser_checks import check_page

    check_page(browser, folder / "report.html")


def test_best_first_and_markup_stays_text(page: Any) -> None:
    assert cells(page, 3) == [f"{0.9 - number / 100:.3f}" for number in range(25)]
    assert cells(page, 1)[:3] == ["concat", "audio", ATTACK]
    assert page.locator("img").count() == 0


def test_models_lead_to_the_pages_of_runs_that_have_one(page: Any, folder: Path) -> None:
    rows = page.locator(f"{TABLE} tbody tr").all()
    assert [row.locator("th a").count() for row in rows[:4]] == [0, 2, 0, 2]  # model and folder, or neither
    link = rows[1].locator("a").first
    assert (folder / unquote(link.get_attribute("href"))).read_text() == "a page"


def test_filters_by_model_and_by_each_mark(page: Any) -> None:
    block = page.locator(".block", has=page.locator(TABLE)).last
    block.get_by_label("Model").select_option(ATTACK)
    assert {*cells(page, 1)} == {ATTACK}
    assert len(cells(page, 1)) == 13
    marks = block.get_by_label("Marks")
    assert marks.locator("option").all_inner_texts() == ["all", "near duplicates", "reduced"]
    marks.select_option("reduced")
    assert [*map(float, cells(page, 3))] == [0.85, 0.79, 0.73, 0.67, 0.61, 0.55]
    block.get_by_label("Search").fill("concat")
    assert cells(page, 1) == []


def test_each_row_has_its_bars(page: Any) -> None:
    sizes = page.locator(f"{TABLE} svg.spark").evaluate_all("all => all.map(svg => svg.getBBox().height)")
    assert len(sizes) == 25
    assert min(sizes) > 0


def test_the_reasons_why_folders_are_not_listed(page: Any) -> None:
    assert "a link to a folder that does not exist" in page.locator("#table-unread").inner_text()
