"""A page of emofuse in a real browser: opened from its file, and checked for what no reader should meet."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import axe_core_python
from playwright.sync_api import Browser, Error, Page, sync_playwright

WIDTHS = (360, 390, 1280, 2560)
PAPER = 688
"""CSS pixels between the margins of an A4 sheet: 210 mm less twice 14 mm."""
SERIOUS = ("serious", "critical")
AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
_INSTALLED = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# Everything that is wider than the paper, or cut off by a box that cannot scroll on paper.
_CUT = """paper => [...document.querySelectorAll("table, figure, svg, pre, article, dl, .block, .scroll")]
    .filter(e => e.getClientRects().length && !e.closest(".store"))
    .filter(e => {
        const box = e.getBoundingClientRect();
        const hides = getComputedStyle(e).overflowX !== "visible" && e.scrollWidth > e.clientWidth + 1;
        return box.left < -1 || box.right > paper + 1 || (hides && !(e instanceof SVGElement));
    })
    .map(e => `${e.tagName.toLowerCase()}#${e.id}.${e.getAttribute("class")} `
        + `${Math.round(e.getBoundingClientRect().right)} px`)"""
_REPEATED_IDS = """() => {
    const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
    return [...new Set(ids.filter((id, i) => ids.indexOf(id) !== i))];
}"""
# Controls that a reader sees and the Tab key does not reach.
_UNREACHABLE = """() => [...document.querySelectorAll("button, input, select, a, summary, audio")]
    .filter(e => e.getClientRects().length && !e.disabled && e.tabIndex < 0).map(e => e.outerHTML.slice(0, 100))"""
# Paged tables that hide columns behind an edge.
_HIDDEN_COLUMNS = """() => [...document.querySelectorAll(".scroll:has(> table.paged)")]
    .filter(e => e.scrollWidth > e.clientWidth + 1)
    .map(e => `${e.firstElementChild.id} ${e.scrollWidth} px of ${e.clientWidth}`)"""
_SCROLLED_SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@contextmanager
def chromium() -> Iterator[Browser | None]:
    """A running Chromium: Playwright's own, else an installed one; None where there is none."""
    found = next(filter(None, map(shutil.which, _INSTALLED)), None)
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path).exists()
        if not own and found is None:
            yield None
            return
        browser = playwright.chromium.launch(args=_FLAGS, executable_path=None if own else found)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, path: Path, *, width: int = 1280, **options: Any) -> Iterator[tuple[Page, list[str]]]:
    """A page, and what is wrong with it so far: errors, dialogs and requests.

    Args:
        options: Of `Browser.new_context`.
    """
    problems: list[str] = []
    address = path.resolve().as_uri()
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on(
        "console", lambda line: problems.append(f"console: {line.text}") if line.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on("request", lambda r: None if r.url.split("#")[0] == address else problems.append(f"request: {r.url[:200]}"))

    def on_dialog(dialog: Any) -> None:
        problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page.on("dialog", on_dialog)
    page.goto(address)
    yield page, problems
    context.close()


def check_page(browser: Browser, path: Path) -> None:
    """Assert that a page is sound at every width, in both themes, on paper, by keyboard, and for axe.

    Raises:
        AssertionError: Lists everything that is wrong.
    """
    with opened(browser, path) as (page, problems):
        problems += [f"id {id!r} is not unique" for id in page.evaluate(_REPEATED_IDS)]
        problems += [f"Tab does not reach {element}" for element in page.evaluate(_UNREACHABLE)]
        page.evaluate("document.querySelectorAll('details').forEach(folded => { folded.open = true; })")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            problems += [f"{width} px wide, columns are hidden: {line}" for line in page.evaluate(_HIDDEN_COLUMNS)]
            if (extra := page.evaluate(_SCROLLED_SIDEWAYS)) > 0:
                problems.append(f"{width} px wide, the page scrolls sideways by {extra} px")
        page.set_viewport_size({"width": 1280, "height": 900})
        page.evaluate(AXE)
        for scheme, rules in (
            ("light", {}),
            ("dark", {"runOnly": ["color-contrast"]}),
        ):  # the other rules see no colours
            page.emulate_media(color_scheme=scheme)
            problems += [f"{scheme}: {line}" for line in accessibility_problems(page, rules)]
        problems += [f"on paper: {line}" for line in print_problems(page)]
    assert not problems, "\n".join([path.name, *problems])


def accessibility_problems(page: Page, options: dict[str, Any]) -> list[str]:
    """What axe finds serious or critical, one line each; `AXE` was evaluated in the page.

    Args:
        options: Of `axe.run`.
    """
    found = page.evaluate(
        "options => axe.run({exclude: [['svg']]}, options)", {"resultTypes": ["violations"], **options}
    )["violations"]
    return [
        f"{violation['id']}: {node['html'][:160]} ({' '.join(node['failureSummary'].split())[:200]})"
        for violation in found
        if violation["impact"] in SERIOUS
        for node in violation["nodes"][:3]
    ]


def print_problems(page: Page) -> list[str]:
    """What is cut off on A4, and what is not black on white."""
    page.set_viewport_size({"width": PAPER, "height": 900})
    page.emulate_media(media="print", color_scheme="dark")
    problems: list[str] = page.evaluate(_CUT, PAPER)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    if paper != "rgb(255, 255, 255)":
        problems.append(f"the paper is {paper}")
    try:
        content = page.pdf(format="A4", prefer_css_page_size=True)
    except Error as error:
        return [*problems, f"not printed: {error}"]
    return problems if content.startswith(b"%PDF") else [*problems, "no PDF"]
