"""The page that each command writes, in a real browser: of runs and stores in which every name looks like HTML."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paper_samples
import pytest
import report_samples as samples
import train_samples
from click.testing import CliRunner

from emofuse.report import explore, report
from emofuse.store.commands.compare import card
from emofuse.train import compare
from emofuse.train.papers.published_table import parse


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of two seeds on a store with hostile ids, texts, speakers and file names."""
    folder = tmp_path_factory.mktemp("pages #1 100%")
    of = samples.hostile_utterances()
    options: dict[str, Any] = {"seeds": 2, "folds": "1,2", "calibrate": "temperature"}
    samples.run(folder, "one", of, **options)
    samples.run(folder, "other", of, steps=2, report=False, **options)
    return folder


def run_page(folder: Path) -> Path:
    """As `fit` writes it."""
    return folder / "one" / "report.html"


def full_run_page(folder: Path) -> Path:
    """As `emofuse report` writes it, with what the models weigh."""
    (path,) = report(path=folder / "one", out=folder / "full.html", say=samples.silent).files
    return path


def leaderboard(folder: Path) -> Path:
    """Of the folder of both runs."""
    (path,) = report(path=folder, say=samples.silent).files
    return path


def comparison(folder: Path) -> Path:
    """Of both runs."""
    compare(runs=[folder / "one", folder / "other"], html=folder / "compared.html", say=samples.silent)
    return folder / "compared.html"


def store_card(folder: Path) -> Path:
    """Of the store."""
    path = folder / "card.html"
    assert CliRunner().invoke(card, [str(folder / "tiny.h5"), "--html", str(path)]).exit_code == 0
    return path


def table_of_a_paper(folder: Path) -> Path:
    """As `reproduce` writes it, of one hostile row."""
    where = folder / "table"
    where.mkdir()
    train_samples.store(where / "tiny.h5")
    train_samples.protocol_file(where)
    row = {"name": samples.HTML, "ablation": "Text", "set": list(paper_samples.TINY), "note": samples.HTML}
    table = parse("tiny-table9", paper_samples.raw(where, rows=[row], paper=samples.HTML))
    _, written, _ = paper_samples.run(paper_samples.request(where, table, folds="1,2"))
    return written / "table.html"


def exploration(folder: Path) -> Path:
    """Of the store, with the errors of a run."""
    path = folder / "explored.html"
    protocol = str(folder / "tiny4.toml")
    explore(stores=folder / "tiny.h5", run=folder / "one", protocol=protocol, out=path, quiet=True, say=samples.silent)
    return path


PAGES = (run_page, full_run_page, leaderboard, comparison, store_card, table_of_a_paper, exploration)


@pytest.mark.parametrize("made", PAGES, ids=lambda made: made.__name__)
def test_a_page_is_sound(browser: Any, folder: Path, made: Callable[[Path], Path], monkeypatch: Any) -> None:
    from browser_checks import check_page

    monkeypatch.setitem(sys.modules, "umap", None)  # an optional map that takes long to compile
    path = made(folder)
    assert samples.HTML.encode() not in path.read_bytes()
    check_page(browser, path)
