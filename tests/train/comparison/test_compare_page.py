"""`compare --html` on real small runs: the page, its parts, and what is refused before the comparison."""

from __future__ import annotations

import json
import os
import shutil
import sys
import webbrowser
from html import unescape
from pathlib import Path

import pytest
from commands import run

from emofuse.common.disk import run_folder
from emofuse.common.errors import UsageError
from emofuse.train import compare

pytestmark = pytest.mark.charts

QUIET = {"say": lambda line: None}


def of(folder: Path, *names: str) -> list[str]:
    return [str(folder / name) for name in names]


def test_the_page_has_the_sentences_texts_links_and_the_command(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "new" / "a b.html"
    arguments = [*of(folder, "concat", "audio", "text"), "--baseline", str(folder / "audio"), "--metrics", "ua,mcc"]
    done = run("compare", [*arguments, "--html", str(page)])
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"page: {page}, ")
    html = unescape(page.read_text())
    sentences = [line for line in lines if " beats " in line or "No difference" in line]
    assert sentences
    assert all(f"<p>{sentence}</p>" in html for sentence in sentences if sentence.endswith("."))
    assert f"emofuse compare {' '.join(arguments)} --html '{page}'" in html
    assert f'href="{os.path.relpath(folder, page.parent)}/concat/report.html"' in html.replace("%20", " ")
    digests = json.loads((folder / "concat" / "digests.json").read_text())["files"]
    assert digests["predictions.csv"] in html
    assert '"words 3"' in html
    assert not list(page.parent.glob("*.part"))
    again = run("compare", [*arguments, "--html", str(page), "--no-text"])
    assert again.returncode == 0
    assert '"words 3"' not in page.read_text()


def test_runs_of_version_0_1_0_have_a_page(tmp_path: Path) -> None:
    archive = Path(__file__).parents[2] / "archives" / "run-v0.1.0" / "runs" / "tiny4-concat-66db0bd5"
    for name in ("old", "other"):
        shutil.copytree(archive, tmp_path / name)
    record = run_folder.read_json(tmp_path / "other" / "config.json")
    record["run"]["settings"]["lr"] = 0.5
    run_folder.write_json(tmp_path / "other" / "config.json", record)
    compare(runs=of(tmp_path, "old", "other"), html=tmp_path / "page.html", **QUIET)
    html = (tmp_path / "page.html").read_text()
    assert "Equal predictions" in html
    assert "no utterances.csv (version 0.1.0)" in html
    assert "UA by fold" in html
    assert "Texts are not shown: the store of tiny cannot be read (" in html


def test_charts_and_tables_are_written_one_by_one(folder: Path, tmp_path: Path) -> None:
    runs = of(folder, "concat", "audio")
    done = run("compare", [*runs, "--format", "png", "--out", str(tmp_path / "charts")])
    assert done.returncode == 0
    assert (tmp_path / "charts" / "differences.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "tables").mkdir()
    run("compare", [*runs, "--format", "md", "--out", str(tmp_path / "tables")])
    pairs = (tmp_path / "tables" / "pairs.md").read_text()
    assert "A is concat; B is audio." in pairs
    found = compare(runs=runs, **QUIET).pairs[0].differences["ua"]
    assert f"| A - B | UA | {100 * found.value:+.1f} |" in pairs


@pytest.mark.parametrize("option", ["html", "out"])
def test_a_path_that_cannot_be_written_is_refused_before_runs_are_read(tmp_path: Path, option: str) -> None:
    (tmp_path / "file").write_text("")
    done = run("compare", ["no-run", "no-other", f"--{option}", str(tmp_path / "file" / "page.html")])
    assert done.returncode == 2
    assert f"{tmp_path / 'file'} is a file; choose another path" in done.stderr
    assert "no-run" not in done.stderr


def test_options_that_cannot_work_are_named_together(tmp_path: Path) -> None:
    done = run("compare", ["a", "b", "--format", "svg", "--open"])
    assert done.returncode == 2
    assert "format svg writes a file for each chart: pass a folder with out (--out FOLDER)" in done.stderr
    assert "open has no effect without a page: pass its file with html (--html FILE)" in done.stderr
    done = run("compare", ["a", "b", "--store", "c.h5"])
    assert "store has no effect without a page: pass its file with html (--html FILE)" in done.stderr
    done = run("compare", ["a", "b", "--html", str(tmp_path), "--format", "json", "--out", str(tmp_path)])
    assert f"--html {tmp_path} is a folder: pass a file, such as {tmp_path / 'comparison.html'}" in done.stderr
    assert f"--out {tmp_path} is a folder: pass a file, such as {tmp_path / 'comparison.json'}" in done.stderr
    with pytest.raises(UsageError, match="html and out are the same file"):
        compare(runs=["a", "b"], html=tmp_path / "x", out=tmp_path / "x", **QUIET)


def test_a_missing_extra_is_named_before_runs_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    done = run("compare", ["no-run", "no-other", "--html", str(tmp_path / "page.html")])
    assert done.returncode == 2
    assert "pip install 'emofuse[report]'" in done.stderr
    assert "no-run" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_page_is_opened(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: not opened.append(url))
    compare(runs=of(folder, "linear-logmel", "linear-rough"), html=tmp_path / "page.html", open=True, **QUIET)
    assert opened == [(tmp_path / "page.html").as_uri()]
