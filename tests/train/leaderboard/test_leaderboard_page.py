"""The page of a folder of runs: its groups, cells, links, marks and commands."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from damage import edited

from emofuse.common.page.blocks import Chart, Commands, Facts, Link, Marks, Page, PagedTable, Spark, Warnings
from emofuse.common.page.export import write_parts
from emofuse.common.page.render import render
from emofuse.train import Run, compare
from emofuse.train.leaderboard.leaderboard_page import leaderboard_page
from emofuse.train.runs.reporting.caveats import caveats

pytestmark = pytest.mark.charts


@pytest.fixture(scope="module")
def page(runs: Path) -> Page:
    return leaderboard_page(runs)


def blocks(page: Page, kind: type) -> Iterator[Any]:
    return (block for section in page.sections for block in section.blocks if isinstance(block, kind))


def table(page: Page, name: str) -> PagedTable:
    return next(block for block in blocks(page, PagedTable) if block.name == name)


def column(page: Page, name: str, title: str) -> list[Any]:
    found = table(page, name)
    number = [c.name for c in found.columns].index(title)
    return [row[number] for row in found.rows]


def text(cell: Any) -> str:
    return cell.text if isinstance(cell, Link) else cell


def test_the_table_of_a_group(page: Page, runs: Path) -> None:
    folders = [*map(text, column(page, "runs-1", "Run"))]
    assert {*folders} == {"concat", "audio", "audio-seeds", "text", "shuffled"}
    metrics = [Run.open(runs / name).metrics for name in folders]
    assert column(page, "runs-1", "UA") == [m["pooled"]["ua"] for m in metrics]
    assert column(page, "runs-1", "± seeds") == [m.get("pooled_std", {}).get("ua") for m in metrics]
    low, high = metrics[0]["interval"]["ua"]
    assert column(page, "runs-1", "95 % interval")[0] == f"{low:.3f}–{high:.3f}"
    scores = [m["pooled"]["ua"] for m in metrics[:4]]
    assert column(page, "runs-1", "Rank") == [*(1 + scores.index(score) for score in scores), None]
    assert column(page, "runs-1", "Features")[folders.index("concat")] == "logmel + bert"
    assert column(page, "runs-1", "Seeds")[folders.index("audio-seeds")] == 2
    differing = column(page, "runs-1", "Differs in")
    assert "steps=3" in differing[folders.index("audio-seeds")]
    assert "shuffle=labels" in differing[folders.index("shuffled")]
    assert differing[folders.index("text")] == ""


def test_each_fold_is_a_bar(page: Page, runs: Path) -> None:
    rows = zip(column(page, "runs-1", "Run"), column(page, "runs-1", "Folds"), strict=True)
    spark = next(cell for run, cell in rows if text(run) == "concat")
    assert isinstance(spark, Spark)
    first = Run.open(runs / "concat").metrics["folds"][0]["test"]["ua"]
    assert spark.alt.startswith(f"UA by fold: 1 {first:.3f}, 2 ")
    assert page.sparklines[spark.key].count("M ") == 4


def test_every_run_with_a_caveat_has_a_mark_and_its_sentence(page: Page, runs: Path) -> None:
    marks = dict(zip(map(text, column(page, "all-runs", "Run")), column(page, "all-runs", "Marks"), strict=True))
    assert "sanity" in marks["shuffled"].names
    assert "short" in marks["short"].names
    assert "evaluated" in marks["below/evaluated"].names
    for name, cell in marks.items():
        expected = caveats(Run.open(runs / name).metrics)
        assert bool(expected) == isinstance(cell, Marks)
        listed = zip(column(page, "caveats", "Run"), column(page, "caveats", "Caveat"), strict=True)
        assert [caveat for run, caveat in listed if text(run) == name] == expected
    legend = next(
        block for section in page.sections for block in section.blocks if getattr(block, "name", "") == "marks"
    )
    assert {row[0] for row in legend.rows} == {mark for cell in marks.values() if cell for mark in cell.names}


def test_the_command_compares_the_best_two_models(page: Page, runs: Path) -> None:
    command = next(blocks(page, Commands)).commands[0]
    words = shlex.split(command)
    assert words[:2] == ["emofuse", "compare"]
    best: dict[str, str] = {}
    for model, name in zip(column(page, "runs-1", "Model"), column(page, "runs-1", "Run"), strict=True):
        best.setdefault(text(model), text(name))
    assert words[2:] == [str(runs / name) for name in [*best.values()][:2]]
    compare(runs=words[2:], say=lambda line: None)


def test_a_copy_of_the_best_run_is_not_its_rival(copied: Callable[..., Path]) -> None:
    folder = copied("concat", "a").parent
    copied("concat", "b")
    assert [*blocks(leaderboard_page(folder), Commands)] == []
    copied("audio", "c")
    assert len(shlex.split(next(blocks(leaderboard_page(folder), Commands)).commands[0])) == 4


def test_the_rival_of_the_best_run_is_another_model(copied: Callable[..., Path]) -> None:
    def better(metrics: dict[str, Any]) -> None:
        metrics["pooled"]["ua"] = 0.99

    def other_seed(config: dict[str, Any]) -> None:
        config["run"]["seed"] = 7

    folder = copied("concat", "a", metrics=edited(better)).parent
    copied("concat", "b", metrics=edited(better), config=edited(other_seed))
    (found,) = blocks(leaderboard_page(folder), Commands)
    assert found.title == "Do the two best runs differ beyond chance?"
    copied("audio", "c")
    (found,) = blocks(leaderboard_page(folder), Commands)
    assert found.title == "Do the two best models differ beyond chance?"
    assert shlex.split(found.commands[0])[2:] == [str(folder / "a"), str(folder / "c")]


def test_only_what_is_wrong_with_runs_is_a_warning(page: Page, copied: Callable[..., Path]) -> None:
    (found,) = blocks(page, Warnings)
    assert found.lines[0].startswith("Marked: ")
    assert "sanity 1" in found.lines[0]
    copied("audio", "a.part")
    (found,) = blocks(leaderboard_page(copied("audio", "b").parent), Warnings)
    assert found.lines[-1] == "Not listed: 1 folder (unfinished 1), named below with the reasons."


@pytest.mark.parametrize("name", [b"plain", b"a b", b"it's\n", b"bytes \xff\\"])
def test_a_shell_reads_the_command_as_the_folder(copied: Callable[..., Path], name: bytes) -> None:
    folder = copied("concat", os.fsdecode(name)).parent
    copied("audio", "other")
    page = leaderboard_page(folder)
    folders = next(blocks(page, Commands)).commands[0].removeprefix("emofuse compare ")
    shown = subprocess.run(["bash", "-c", f"printf '%s\\0' {folders}"], capture_output=True, check=True)
    assert os.fsencode(folder) + b"/" + name in shown.stdout.split(b"\0")
    render(page).encode()


def test_charts_show_the_best_runs_and_models_by_features(page: Page) -> None:
    charts = {chart.name: chart for chart in blocks(page, Chart)}
    assert {*charts} == {"best-1", "models-by-features-1"}
    assert charts["best-1"].title == "The best 4 runs by UA"
    best = column(page, "runs-1", "UA")[0]
    assert f"{best:.3f} (" in charts["best-1"].alt
    assert "concat with logmel + bert" in charts["models-by-features-1"].alt


def test_facts_say_what_a_group_is(page: Page) -> None:
    facts = dict([*blocks(page, Facts)][1].facts)
    assert facts["Test utterances"] == "64"
    assert facts["Held out by"] == "session"
    assert facts["Classes"] == "4"
    assert page.sections[1].lead == "Classes: ang, hap, neu, sad."
    assert (facts["Ranked by"], facts["UA of the most frequent class"]) == ("UA", "0.250")


def test_links_lead_to_the_pages_of_runs(copied: Callable[..., Path], tmp_path: Path) -> None:
    strange = "<img src=x onerror=alert(1)> a #b%41?;\n'c\"&d"
    run = copied("audio", f"deep/{strange}")
    copied("audio", "without").joinpath("report.html").unlink()
    (tmp_path / "pages").mkdir()
    page = leaderboard_page(run.parents[1], page_folder=tmp_path / "pages")
    cells = {text(cell): cell for cell in column(page, "runs-1", "Run")}
    assert cells["without"] == "without"
    link = next(cell for cell in cells.values() if isinstance(cell, Link))
    target = tmp_path / "pages" / unquote(link.href)
    assert target.resolve() == (run / "report.html").resolve()
    assert not re.search(r"[<>#?\s\"]", link.href)
    html = render(page)
    assert "<img" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html


def test_by_default_links_begin_at_the_folder(page: Page, runs: Path) -> None:
    links = [cell for cell in column(page, "all-runs", "Run") if isinstance(cell, Link)]
    assert {link.text for link in links} == {"audio", "concat", "below/evaluated"}, "the runs that have a page"
    assert all((runs / unquote(link.href)).is_file() for link in links)


def test_forty_classes(copied: Callable[..., Path]) -> None:
    def forty(metrics: dict[str, Any]) -> None:
        metrics["classes"] = [f"class {n}" for n in range(40)]
        metrics["confusion"] = [[1] * 40] * 40

    folder = copied("audio", "a", metrics=edited(forty)).parent
    copied("text", "b", metrics=edited(forty))
    page = leaderboard_page(folder)
    facts = dict([*blocks(page, Facts)][1].facts)
    assert facts["Classes"] == "40"
    assert page.sections[1].lead.endswith("class 11 and 28 others.")
    assert facts["UA of the most frequent class"] == "0.025"


def test_one_run_stands_alone(copied: Callable[..., Path]) -> None:
    page = leaderboard_page(copied("audio", "a").parent)
    assert [*map(text, column(page, "alone-runs", "Run"))] == ["a"]
    assert not [*blocks(page, Chart)]
    assert "alone" in render(page)


def test_tables_and_charts_can_be_written(page: Page, tmp_path: Path) -> None:
    names = {path.name for path in write_parts(page, tmp_path, "csv")}
    assert {"runs-1.csv", "groups.csv", "caveats.csv"} <= names
    assert "UA of fold 1," in (tmp_path / "runs-1.csv").read_text().splitlines()[0]
    assert [path.name for path in write_parts(page, tmp_path, "svg")] == ["best-1.svg", "models-by-features-1.svg"]


def test_equal_folders_give_equal_pages(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / runs.name, ignore=shutil.ignore_patterns("*.h5"))
    pages = [render(leaderboard_page(folder)) for folder in (runs, tmp_path / runs.name)]
    assert pages[0].replace(str(runs), "") == pages[1].replace(str(tmp_path / runs.name), "")
