"""Every block of a page in a real browser: sound, operable by mouse and keyboard, readable without a script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import page_samples
import pytest

from emofuse.common.disk.csv_table import parse_csv
from emofuse.common.page.render import PAGE_ROWS, render

COUNT = 60
UTTERANCES = "table.paged >> nth=0"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("blocks") / "a page #1 100%.html"  # as folders of users may be called
    path.write_text(render(page_samples.everything(COUNT)), encoding="utf-8")
    return path


@pytest.fixture
def page(browser: Any, path: Path) -> Iterator[Any]:
    """The page, opened; whatever is wrong with it after the test fails the test."""
    from browser_checks import opened

    with opened(browser, path, permissions=["clipboard-read", "clipboard-write"]) as (page, problems):
        yield page
        page.wait_for_timeout(50)
        assert problems == []


def cells(page: Any, column: int) -> list[str]:
    """The texts of a column of the table of utterances."""
    found: list[str] = page.locator(f"{UTTERANCES} >> tbody tr > :nth-child({column})").all_inner_texts()
    return [text.strip() for text in found]


def pager(page: Any) -> Any:
    return page.locator(".pager >> nth=0")


def test_it_is_sound(browser: Any, path: Path) -> None:
    from browser_checks import check_page

    check_page(browser, path)


def test_the_contents_do_not_hide_what_they_lead_to(page: Any) -> None:
    for width in (1280, 800, 390):
        page.set_viewport_size({"width": width, "height": 600})
        link = page.locator("nav a").nth(1)
        link.click()
        page.wait_for_timeout(50)
        heading = page.locator(f"{link.get_attribute('href')} h2").bounding_box()
        contents = page.locator("nav").bounding_box()
        assert 0 <= heading["y"] - max(0, contents["y"] + contents["height"]) < 60


def test_numbers_sort_as_numbers_and_empty_cells_come_last(page: Any) -> None:
    header = page.locator(UTTERANCES).get_by_role("columnheader", name="probability")
    for order, descending in (("descending", True), ("ascending", False)):
        header.get_by_role("button").click()
        assert header.get_attribute("aria-sort") == order
        shown = [float(text) for text in cells(page, 5)]
        assert len(shown) == PAGE_ROWS
        assert shown == sorted(shown, reverse=descending)
    shown = []
    for _ in range(2):
        pager(page).get_by_role("button", name="Next").click()
        shown += cells(page, 5)
    empty = sum(row[4] is None or row[4] != row[4] for row in page_samples.rows(COUNT))
    assert shown[-empty:] == [""] * empty
    assert "" not in shown[:-empty]


def test_texts_sort_as_readers_count(page: Any) -> None:
    for _ in range(2):
        page.locator(UTTERANCES).get_by_role("columnheader", name="id").get_by_role("button").click()
    assert cells(page, 1) == [f"utterance-{i}" for i in range(COUNT - 1, COUNT - 1 - PAGE_ROWS, -1)]


def test_filters_and_search_narrow_the_rows_together(page: Any) -> None:
    page.get_by_label("label").first.select_option("hap")
    assert set(cells(page, 3)) == {"hap"}
    assert pager(page).locator("span").inner_text() == f"1 to 15 of 15 rows, out of {COUNT}"
    with page.expect_download() as download:
        pager(page).get_by_role("button", name="CSV").click()
    names, rows = parse_csv(Path(download.value.path()).read_bytes().decode())
    assert download.value.suggested_filename == "utterances.csv"
    assert names == [column.name for column in page_samples.COLUMNS if column.name != "sound"]
    kept = [row for row in page_samples.rows(COUNT) if row[2].name == "hap"]
    assert [row["text"] for row in rows] == [row[1] or "" for row in kept]
    marks = [row[6] for row in kept]
    assert [row["marks"] for row in rows] == ["; ".join(mark.names) if mark else "" for mark in marks]
    search = page.get_by_label("Search").first
    search.fill("UTTERANCE-2 fine")
    assert cells(page, 1) == ["utterance-21"]
    search.fill("data:audio")  # the address of a recording is not a text of the table
    assert cells(page, 1) == []
    search.fill("nowhere")
    assert pager(page).locator("span").inner_text() == f"None of {COUNT} rows"


def test_a_number_is_filtered_by_a_range(page: Any) -> None:
    low, high = (page.get_by_label(f"probability {end}").first for end in ("from", "to"))
    low.fill("0.3")
    high.fill("0.8")
    shown = [float(text) for text in cells(page, 5)]
    assert shown
    assert all(0.3 <= value <= 0.8 for value in shown)
    low.fill("")
    high.fill("")
    assert pager(page).locator("span").inner_text() == f"1 to {PAGE_ROWS} of {COUNT} rows"


def test_what_is_folded_is_open_on_paper_alone(page: Any) -> None:
    folded = page.locator("details").first
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert folded.get_attribute("open") is not None
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert folded.get_attribute("open") is None


def test_the_first_column_stays_in_sight(page: Any) -> None:
    page.set_viewport_size({"width": 700, "height": 900})
    scrolled = page.locator(".scroll", has=page.locator("#table-folds"))
    assert scrolled.evaluate("box => { box.scrollLeft = 200; return box.scrollLeft; }") == 200
    first = page.locator("#table-folds tbody th").first
    assert first.bounding_box()["x"] == pytest.approx(scrolled.bounding_box()["x"], abs=1)


def test_pages_follow_each_other_to_the_end(page: Any) -> None:
    previous, following = (pager(page).get_by_role("button", name=name) for name in ("Previous", "Next"))
    assert previous.is_disabled()
    seen = cells(page, 1)
    for _ in range(2):
        following.click()
        seen += cells(page, 1)
    assert following.is_disabled()
    assert seen == [row[0] for row in page_samples.rows(COUNT)]


def test_a_recording_plays_where_its_button_was(page: Any) -> None:
    page.get_by_role("button", name="Play the recording").first.click()
    assert page.evaluate("document.activeElement.tagName") == "AUDIO"


def test_a_switch_shows_one_block_at_a_time_by_mouse_and_arrow_keys(page: Any) -> None:
    options = page.locator("fieldset .option")
    assert [option.is_visible() for option in options.all()] == [True, False]
    page.locator("fieldset > label").last.click()
    assert [option.is_visible() for option in options.all()] == [False, True]
    page.keyboard.press("ArrowLeft")
    assert [option.is_visible() for option in options.all()] == [True, False]


def test_commands_are_copied_to_the_clipboard(page: Any) -> None:
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.splitlines() == ["emofuse fit --store x.h5", f"echo '{page_samples.ATTACK}' {page_samples.LONG}"]


def test_the_button_changes_the_theme_whatever_the_system_has(page: Any) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.get_by_role("button", name="Dark theme").click()
    dark = page.evaluate(background)
    page.emulate_media(color_scheme="dark")
    page.get_by_role("button", name="Light theme").click()
    assert dark != light == page.evaluate(background)


def test_the_tab_key_reaches_every_kind_of_control_and_enter_works_it(page: Any) -> None:
    page.evaluate("""() => {
        window.reached = new Set();
        addEventListener("focusin", ({ target: e }) => {
            window.reached.add(e.closest("th") ? "sort" : e.className || e.type || e.tagName);
        });
    }""")
    for _ in range(100):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "copy":
            break
    reached = set(page.evaluate("[...window.reached]"))
    assert reached >= {"skip", "theme", "radio", "search", "select-one", "sort", "scroll", "AUDIO", "SUMMARY", "copy"}
    page.locator(f"{UTTERANCES} >> th button").first.focus()
    page.keyboard.press("Enter")
    assert page.locator(f"{UTTERANCES} >> th").first.get_attribute("aria-sort") == "ascending"


def test_a_chart_that_fits_is_no_stop_of_the_tab_key(page: Any) -> None:
    fitting = page.locator("figure .scroll:visible").first
    assert fitting.get_attribute("tabindex") is None
    page.set_viewport_size({"width": 250, "height": 900})
    page.wait_for_function("document.querySelector('figure .scroll').tabIndex === 0")


def test_without_a_script_the_first_rows_stand_there(browser: Any, path: Path) -> None:
    from browser_checks import opened

    with opened(browser, path, java_script_enabled=False) as (page, problems):
        assert page.locator(f"{UTTERANCES} >> tbody tr").count() == PAGE_ROWS
        assert pager(page).inner_text() == f"{PAGE_ROWS} of {COUNT} rows"
        assert not page.get_by_label("Search").first.is_visible()
        assert problems == []


def test_five_thousand_rows_are_light_and_sort_at_once(browser: Any, tmp_path: Path) -> None:
    from browser_checks import opened

    path = tmp_path / "many.html"
    path.write_text(render(page_samples.many_rows(5000)), encoding="utf-8")
    assert path.stat().st_size < 2_000_000
    with opened(browser, path) as (page, problems):
        milliseconds = page.evaluate("""() => {
            const started = performance.now();
            document.querySelectorAll("th button").forEach(button => button.click());
            return performance.now() - started;
        }""")
        assert milliseconds < 5000
        assert pager(page).locator("span").inner_text() == "1 to 25 of 5000 rows"
        page.locator("input[list]").fill("UTTERANCE-499")  # of more than 60 values: typed text, not a choice
        assert pager(page).locator("span").inner_text() == "1 to 11 of 11 rows, out of 5000"
        assert problems == []
