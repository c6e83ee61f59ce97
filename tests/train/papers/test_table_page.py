"""The page of a table of `reproduce`, and that every output says each difference from the paper once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import commands
import pytest
from paper_samples import TINY, raw, request, run

from emofuse.train.papers.output import table_text
from emofuse.train.papers.output.row_notes import table_notes
from emofuse.train.papers.output.table_page import table_page
from emofuse.train.papers.published_table import load, parse
from emofuse.train.papers.reproduce import Reproduction
from emofuse.train.papers.results import ResultTable

pytestmark = pytest.mark.charts

ATTACK = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def done(folder: Path) -> tuple[ResultTable, Path]:
    """Rows that share two caveats; one has a note of its own, one a hostile name."""
    rows: list[dict[str, Any]] = [
        *raw(folder)["rows"][1:],
        {"name": ATTACK, "ablation": "Text", "set": list(TINY), "note": ATTACK},
    ]
    table = parse("tiny-table9", raw(folder, rows=[raw(folder)["rows"][0], *rows]))
    return run(request(folder, table, limit=40, folds="1,2"))[:2]


def test_what_all_rows_share_is_said_once_in_every_output(done: tuple[ResultTable, Path]) -> None:
    results, where = done
    shared = "short run: 40 utterances (--limit)"
    assert all(shared in r.notes for r in results.rows_of(results.table.tasks[0]) if r.state == "run")
    for text in (
        table_text.screen(results),
        (where / "table.md").read_text(),
        (where / "table.tex").read_text().replace("-{}-", "--"),
        (where / "table.html").read_text(),
    ):
        assert text.count(shared) == 1
        assert text.count("--steps 4") in (1, 2)  # the command of the page has it too
    tex = (where / "table.tex").read_text().replace("-{}-", "--")
    caption = next(line for line in tex.splitlines() if line.startswith(r"\caption"))
    assert shared in caption


def test_notes_of_some_rows_have_letters(done: tuple[ResultTable, Path]) -> None:
    results, where = done
    notes = table_notes(results)
    by_row = {r.row.name: notes.letters_of(r) for r in results.rows_of(results.table.tasks[0])}
    assert by_row == {"Somebody [1]": [], "Audio": [], "SMCN": ["a"], ATTACK: ["b"]}
    assert notes.explained() == ["a: the whole.", f"b: {ATTACK}."]
    assert r"SMCN\textsuperscript{a} & " in (where / "table.tex").read_text()
    assert re.search(r"\| SMCN \|.*\| a \|", (where / "table.md").read_text())
    assert re.search(r"^SMCN .* a$", table_text.screen(results), re.MULTILINE)
    assert re.search(r"^Somebody \[1\] .* cited$", table_text.screen(results), re.MULTILINE)


def test_the_page_has_ours_beside_the_papers_links_and_the_command(done: tuple[ResultTable, Path]) -> None:
    results, where = done
    html = (where / "table.html").read_text()
    row = results.rows_of(results.table.tasks[0])[1]
    for text in table_text.cells(results, row.task, row):
        assert text in html
    for href in re.findall(r'href="(\.[^"]+)"', html):
        assert (where / href).is_file()
    assert html.count('/report.html"') == 3
    assert "emofuse reproduce tiny-table9 --store " in html
    assert "--folds 1,2 --steps 4 --limit 40 --device cpu" in html
    assert "<img" not in html
    assert ATTACK.replace("<", "&lt;").replace(">", "&gt;") in html


def test_the_page_of_an_interrupted_table_says_what_was_not_run(folder: Path, done: tuple[ResultTable, Path]) -> None:
    results, where = done
    rest = ResultTable(table=results.table, marks=[], conditions={}, skipped_tasks={})
    page = table_page(rest, where, "emofuse reproduce")
    lines = page.sections[0].blocks[0].lines
    assert lines == [f"not run, so without figures of ours: Audio, SMCN, {ATTACK}"]


def test_a_remark_of_all_rows_is_reported_once(folder: Path) -> None:
    table = parse("tiny-table9", raw(folder))
    lines = run(request(folder, table, limit=24, folds="1,2", runs=folder / "once"))[2]
    assert sum("short run: 24 utterances" in line for line in lines) == 1
    assert sum(line.startswith("    run: ") for line in lines) == 2


def test_the_command_names_what_this_call_wrote_without_terminal_escapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = tmp_path / "\x1b[31mred"
    where.mkdir()
    (where / "table.html").write_text("the page of an earlier call")
    results = ResultTable(table=load("mmrbn-table1"), marks=(), conditions={}, skipped_tasks={})
    made = Reproduction(results=results, folder=where, pictures=(where / "figure.svg",))
    monkeypatch.setattr("emofuse.train.papers.reproduce.reproduce", lambda *given: made)
    said = commands.run("reproduce", ["mmrbn-table1", "--store", "s.h5"]).stdout
    assert "/\N{REPLACEMENT CHARACTER}[31mred/table.csv, table.md, table.tex\n" in said
    assert "[31mred/figure.svg\n" in said
    assert "\x1b" not in said
    assert "table.html" not in said


@pytest.mark.slow  # the check of the wheel runs a table without the extra too
def test_without_the_extra_the_tables_are_whole_and_the_extra_is_named(folder: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = sys.modules['jinja2'] = None\n"
        f"sys.path[:0] = {[str(Path(__file__).parents[2] / 'support/train')]!r}\n"
        "from pathlib import Path; import paper_samples as s\n"
        "from emofuse.train.papers.published_table import parse\n"
        "folder, runs = map(Path, sys.argv[1:])\n"
        "results, where, _ = s.run(s.request(folder, parse('t', s.raw(folder)), runs=runs, folds='1,2'))\n"
        "print(sorted(p.name for p in where.iterdir()), results.remarks)\n"
    )
    out = folder / "bare"
    done = subprocess.run([sys.executable, "-c", code, str(folder), str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "['table.csv', 'table.md', 'table.tex']" in done.stdout
    assert "No page: charts and pages need matplotlib and jinja2: pip install 'emofuse[report]'" in done.stdout
