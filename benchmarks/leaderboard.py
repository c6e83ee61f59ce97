"""Time of the page of a folder of runs: reading, drawing, and opening it in a browser.

    python benchmarks/leaderboard.py RUN... [--count 500] [--browser /usr/bin/chromium]

Copies the small files of real runs (metrics, settings, utterances, predictions, the weights' header) until there are
`--count` of them, each with another seed. Times the command `emofuse report` in new processes, imports included, and
three calls of `leaderboard_page` and `render` in one process. With `--browser`, also opens the page: until its tables
work, and a search and a sort.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from emofuse.common.page.render import render
from emofuse.train.leaderboard.leaderboard_page import leaderboard_page

SKIPPED = ("checkpoints", "history.csv", "*.png", "final", "exports")


def copies(runs: list[Path], count: int, folder: Path) -> None:
    for number in range(count):
        source = runs[number % len(runs)]
        copy = folder / f"{source.name}-{number:03d}"
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns(*SKIPPED))
        config = json.loads((copy / "config.json").read_text())
        config["run"]["seed"] = number
        (copy / "config.json").write_text(json.dumps(config))


def timed_command(folder: Path) -> None:
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "emofuse.common.umbrella", "report", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    computed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"emofuse report, a new process: {time.perf_counter() - started:.2f} s, of which {computed:.2f} s computed")


def timed_page(folder: Path) -> str:
    started, computed = time.perf_counter(), time.process_time()
    page = leaderboard_page(folder)
    made = time.perf_counter()
    html = render(page)
    ended, computed = time.perf_counter(), time.process_time() - computed
    print(
        f"page {made - started:.2f} s, render {ended - made:.2f} s, of which {computed:.2f} s computed; "
        f"{len(html.encode()) / 1e6:.2f} MB"
    )
    return html


def timed_browser(path: Path, browser: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        started = time.perf_counter()
        page.goto(path.as_uri())
        page.wait_for_selector("#table-runs-1 thead button")
        print(f"browser: page opens in {time.perf_counter() - started:.2f} s")
        for action, script in {
            "search": "const s = document.querySelector('#group-1 input'); s.value = 'linear'; "
            "s.dispatchEvent(new Event('input'))",
            "sort": "document.querySelectorAll('#table-runs-1 thead button')[3].click()",
        }.items():
            milliseconds = page.evaluate(
                f"() => {{ const t = performance.now(); {script}; document.body.offsetHeight; "
                "return performance.now() - t }"
            )
            print(f"browser: {action} {milliseconds:.0f} ms")
        chromium.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--browser")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder, "runs")
        copies(options.runs, options.count, runs)
        for _ in range(3):
            timed_command(runs)
        html = [timed_page(runs) for _ in range(3)][-1]
        if options.browser:
            path = runs / "report.html"
            path.write_text(html, encoding="utf-8")
            timed_browser(path, options.browser)


if __name__ == "__main__":
    main()
