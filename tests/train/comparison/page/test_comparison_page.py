"""The comparison page of runs with chosen predictions: counts, wins, words, and what is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from predicted_runs import predicted_run

from emofuse.common.page.blocks import Link, Page, PagedTable, Section, Table, Text
from emofuse.common.page.export import write_parts
from emofuse.common.page.render import render
from emofuse.common.page.walk import charts_of, tables_of
from emofuse.train.comparison.comparison import compare_predictions
from emofuse.train.comparison.comparison_output import screen
from emofuse.train.comparison.comparison_tables import NOTHING_DIFFERS
from emofuse.train.comparison.inputs.run_predictions import RunPredictions
from emofuse.train.comparison.page.comparison_page import comparison_page
from emofuse.train.comparison.page.record import PageMaterial

pytestmark = pytest.mark.charts

ATTACK = "<img src=x onerror=alert(1)>"
LABELS = np.arange(240) % 4
SPEAKERS = [f"s{i // 20}" for i in range(240)]
CLASSES = ("ang", "hap", "neu", "sad")


def wrong_at(*places: int) -> np.ndarray:
    """One seed's predictions [1, 240], all right but at these places."""
    found = LABELS.copy()
    found[list(places)] = (found[list(places)] + 1) % 4
    return found[None]


def runs_of(folder: Path, *predictions: np.ndarray, **options: Any) -> list[RunPredictions]:
    return [
        predicted_run(folder / f"m{i}", LABELS, p, options.get("classes", CLASSES), SPEAKERS)
        for i, p in enumerate(predictions)
    ]


def page_of(runs: list[RunPredictions], **material: Any) -> Page:
    return comparison_page(compare_predictions(runs), runs, PageMaterial(**material))


def blocks(page: Page) -> list[Any]:
    return [block for section in page.sections for block in section.blocks]


def table(page: Page, name: str) -> Table | PagedTable:
    return next(t for t in tables_of(blocks(page)) if t.name == name)


def section(page: Page, name: str) -> Section:
    return next(s for s in page.sections if s.name == name)


def headline(page: Page) -> str:
    return str(blocks(page)[0].value)


def test_one_pair_is_counted_utterance_by_utterance(tmp_path: Path) -> None:
    many = range(0, 240, 2)
    page = page_of(runs_of(tmp_path, wrong_at(1, 5), wrong_at(5, *many)))
    assert headline(page) == "The two runs differ"
    (row,) = table(page, "agreement-table").rows
    assert row == ["A - B", 118, 120, 1, 1, pytest.approx(100 * 119 / 240)]
    assert table(page, "mcnemar").rows == [["A - B", 120, 1, "120.00", "<0.001"]]
    shown = table(page, "utterances-table")
    names = [column.name for column in shown.columns]
    assert names == ["id", "label", "right", "A", "p(A)", "B", "p(B)", "speaker"]
    assert len(shown.rows) == 122
    assert {str(r[0]): r[2] for r in shown.rows} == {f"u{i:05d}": "A" for i in many} | {"u00001": "B", "u00005": "none"}
    assert shown.rows[0][4] == 0.9
    assert shown.rows[-1][2] == "none"


def test_other_intervals_on_the_pages_of_the_runs_are_explained(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, wrong_at(0, 4), wrong_at(8))
    own = {"unit": "session", "units": 2, "inner_unit": "dialogue"}
    for interval, expected in ((own, True), ({"unit": "speaker", "units": 12}, False)):
        runs[0].run.metrics["interval"] = interval
        caption = next(b for b in blocks(page_of(runs)) if isinstance(b, Table) and b.name == "runs").caption
        assert ("resample what its protocol holds out, 2 sessions, then dialogues of each" in caption) is expected
        assert ("These intervals resample 12 speakers" in caption) is expected


def test_classes_and_speakers_have_the_differences_of_the_predictions(tmp_path: Path) -> None:
    page = page_of(runs_of(tmp_path, wrong_at(), wrong_at(0, 4, 8, 21)))
    rows = {str(row[1].name): row for row in table(page, "classes-table").rows}  # type: ignore[union-attr]
    assert rows["ang"][2:6] == [60, "1.000", "0.950", "+5.0"]
    assert rows["sad"][5:] == ["+0.0", "+0.0 to +0.0", "+0.0", "+0.0 to +0.0"]
    speakers = {row[0]: row for row in table(page, "speakers").rows}
    assert list(speakers) == [f"s{i}" for i in range(12)]
    assert speakers["s0"] == ["s0", 20, 1.0, pytest.approx(0.85), "+15.0"]
    caption = next(c.caption for c in charts_of(blocks(page)) if c.name == "by-speaker")
    assert "Best of 12 speakers: A in 2, several alike in 10." in caption
    assert not [c for c in charts_of(blocks(page)) if c.name == "by-fold"], "each fold tests one speaker"


def test_what_differs_and_what_is_the_same_are_said_once(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, wrong_at(), wrong_at(0))
    common = {"settings": {"lr": 0.1, "hidden": 4}, "class_weights": "none", "select": "last", "limit": None}
    details = ({"layers": [1], "bands": 26}, {"layers": [1, 2], "rate": 50})
    for run, feature, fingerprint, versions in zip(runs, ("a", "b"), details, ({}, {"emofuse": "0.2"}), strict=True):
        commit = "0123456789abcdef" + ("-dirty" if versions else "")
        config = run.run.config
        features = {"audio": {"name": feature, "encoder": "e", "fingerprint": fingerprint}}
        vars(run.run)["config"] = {
            "run": config["run"] | common | {"features": features},
            "stores": {"tiny": f"{feature}/tiny.h5"},  # the same store under two paths
            "calls": [
                {"versions": {"torch": "2.8", **versions}, "device": "cpu", "commit": commit, "started": feature}
            ],
        }
    page = page_of(runs)
    shown = table(page, "settings")
    assert [column.name for column in shown.columns] == ["setting", "A", "B"]
    assert shown.rows == [
        ["model", "m0", "m1"],
        ["audio feature", "a", "b"],
        ["audio.layers", "1", "1, 2"],
        ["audio.rate", "-", "50"],
        ["audio.bands", "26", "-"],
        ["emofuse", "-", "0.2"],
        ["commit", "0123456789", "0123456789-dirty"],
    ]
    same = dict(table(page, "equal-settings").rows)
    assert same["hidden"] == "4"
    assert same["protocol.metrics"] == "ua, wa, wf1"
    assert same["store of tiny"] == "tiny.h5"
    assert not {"limit", "emofuse", "model"} & same.keys()
    text = screen(compare_predictions(runs))
    lines = [line.split() for line in text.splitlines()]
    assert ["differing", "in", "m0", "m1"] in lines
    assert ["audio", "feature", "a", "b"] in lines
    assert "The same in all runs: audio encoder e; lr 0.1; hidden 4; class_weights none; select last;" in text
    runs[1].run.config["run"]["features"]["audio"]["encoder"] = "other"
    names = [row[0] for row in table(page_of(runs), "settings").rows]
    assert names == ["model", "audio feature", "audio encoder", "emofuse", "commit"]
    runs[1] = replace(runs[1], run=runs[0].run)
    assert section(page_of(runs), "settings").blocks[0] == Text(lines=[NOTHING_DIFFERS])


def test_equal_runs_and_no_errors_are_said(tmp_path: Path) -> None:
    page = page_of(runs_of(tmp_path, wrong_at(), wrong_at()))
    assert headline(page) == "Equal predictions"
    assert section(page, "utterances").blocks == [Text(lines=["Every run gets every utterance right."])]
    assert section(page, "utterances").lead.startswith("240 of 240 utterances are right in every run")


def test_many_runs_and_pairs_render_in_bounded_size(tmp_path: Path) -> None:
    page = page_of(runs_of(tmp_path, *(wrong_at(*range(i, 240, i + 2)) for i in range(10))))
    assert len(table(page, "agreement-table").rows) == 45
    assert "of 45 pairs differ" in headline(page)
    assert [c for c in charts_of(blocks(page)) if c.name == "equal-predictions"]
    names = [column.name for column in table(page, "utterances-table").columns]
    assert names == ["id", "label", "right", *"ABCDEFGHIJ", "speaker"]
    options = [b.options for b in blocks(page) if b.kind == "choice" and b.name == "confusions"]
    assert [label for label, _ in options[0]] == [f"A - {letter}" for letter in "BCDEFGHI"]


@pytest.mark.slow
def test_ten_runs_on_ten_thousand_utterances_are_below_3_mb(tmp_path: Path) -> None:
    labels, speakers = np.arange(10_000) % 7, [f"s{i % 100}" for i in range(10_000)]
    classes, generator = [f"emotion {i}" for i in range(7)], np.random.default_rng(0)
    runs = []
    for i in range(10):
        noise = generator.integers(0, 7, (1, 10_000))
        predictions = np.where(generator.random((1, 10_000)) < 0.5, labels, noise)
        runs.append(predicted_run(tmp_path / f"m{i}", labels, predictions, classes, speakers))
    texts = dict.fromkeys(runs[0].ids, "What the hell happened to you, and where have you been? " * 2)
    page = page_of(runs, texts=texts)
    assert "The table has the first " in section(page, "utterances").lead
    assert len(render(page).encode()) < 3_000_000


def test_forty_classes_have_a_table_in_place_of_the_matrix(tmp_path: Path) -> None:
    labels, classes = np.arange(240) % 40, [f"c{i}" for i in range(40)]
    others = np.where(np.arange(240) < 12, 39, labels)
    runs = [predicted_run(tmp_path / n, labels, p[None], classes, SPEAKERS) for n, p in (("a", labels), ("b", others))]
    page = page_of(runs)
    assert not [c for c in charts_of(blocks(page)) if c.name.startswith("confusion")]
    first = table(page, "confusions").rows[0]
    assert (first[0], first[3:]) == ("A - B", [6.0, 5.0, 1.0])
    assert len(table(page, "classes-table").rows) == 40


def test_several_seeds_and_missing_predictions(tmp_path: Path) -> None:
    two = np.concatenate([wrong_at(0), wrong_at(0, 1)])
    missing = wrong_at()
    missing[0, 7] = -1
    page = page_of(runs_of(tmp_path, two, missing))
    rows = {row[0]: row for row in table(page, "utterances-table").rows}
    assert rows["u00000"][5] == "0 of 2"
    assert rows["u00007"][2] == "A"
    assert rows["u00007"][6] == "none"
    (row,) = table(page, "agreement-table").rows
    assert row[1:5] == [237.5, 1.0, 1.5, 0.0]
    shown = table(page, "utterances-table").caption
    assert "the seeds of a run decide together, by mean probability" in shown
    assert "Right of 240 on average and together: A 238.5 and 239, B 239.0 and 239." in shown
    assert "mean over seeds" in next(c.caption for c in charts_of(blocks(page)) if c.name == "right-together")


def test_without_probabilities_there_is_no_column_of_them(tmp_path: Path) -> None:
    runs = [
        predicted_run(tmp_path / n, LABELS, wrong_at(i), CLASSES, SPEAKERS, probabilities=False)
        for i, n in enumerate("ab")
    ]
    names = [column.name for column in table(page_of(runs), "utterances-table").columns]
    assert names == ["id", "label", "right", "A", "B", "speaker"]


def test_texts_classes_and_names_that_look_like_html_stay_text(tmp_path: Path) -> None:
    classes = (ATTACK, "$x$", "neu", "sad")
    runs = runs_of(tmp_path, wrong_at(1), wrong_at(2), classes=classes)
    page = page_of(runs, texts={"u00001": ATTACK, "u00002": "x" * 1000}, command=ATTACK)
    html = render(page)
    assert "<img" not in html
    shown = {row[0]: row for row in table(page, "utterances-table").rows}
    assert shown["u00001"][7] == ATTACK
    assert len(str(shown["u00002"][7])) == 300


def test_links_lead_from_the_page_to_the_runs_pages(tmp_path: Path) -> None:
    runs = runs_of(tmp_path / "a b", wrong_at(1), wrong_at(2))
    (tmp_path / "a b" / "m0" / "report.html").write_text("page")
    first, second = table(page_of(runs, folder=tmp_path / "pages"), "runs").rows
    assert first[1] == Link(text="m0", href="../a%20b/m0/report.html")
    assert second[1] == "m1"
    assert table(page_of(runs), "runs").rows[0][1] == "m0"


@pytest.mark.parametrize("format", ["svg", "csv"])
def test_each_chart_and_table_has_a_file(tmp_path: Path, format: str) -> None:
    page = page_of(runs_of(tmp_path, wrong_at(1), wrong_at(2)))
    found = {file.stem for file in write_parts(page, tmp_path / "parts", format)}
    wanted = charts_of(blocks(page)) if format == "svg" else tables_of(blocks(page))
    assert found == {block.name for block in wanted}
    assert {"svg": "differences", "csv": "pairs"}[format] in found
