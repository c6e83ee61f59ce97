"""The published tables: their figures are as printed, and their variants exist."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path

import pytest
from papers_printed import COLUMNS, printed

from emofuse.manifests import protocol_files as protocols
from emofuse.train.models.config import with_settings
from emofuse.train.models.registry import MODELS, variant
from emofuse.train.papers import published_table as tables
from emofuse.train.papers.published_table import TableRow, TableTask

OWN = [
    pytest.param(row, task, id=f"{table.name}-{row.name}-{task.protocol}")
    for table in map(tables.load, COLUMNS)
    for row in table.rows
    if not row.cited
    for task in table.tasks
    if task.protocol in row.tasks
]


def test_the_list_of_tables() -> None:
    assert tables.names() == sorted(COLUMNS)
    assert len(COLUMNS) == 17


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_a_table_describes_itself(name: str) -> None:
    table = tables.load(name)
    assert table.name == name
    assert table.unit == ("fraction" if name.startswith("mmrbn") else "percent")
    assert all((table.paper, table.where, table.about, table.notes))
    kind, number = name.split("-")[1][:-1], name[-1]
    expected = "third result table, unnumbered" if name == "slides-table3" else f"{kind.capitalize()} {number}"
    assert table.where == expected
    first = (Path(tables.__file__).parent / f"{name}.toml").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert first.endswith(".")
    assert all(note.endswith(".") for note in table.notes)
    # The renderer joins a row's note with others and adds the period.
    assert not any(row.note.endswith(".") for row in table.rows)


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_columns_are_in_the_papers_order(name: str) -> None:
    assert {t.protocol: list(t.metrics) for t in tables.load(name).blocks} == COLUMNS[name]


def test_the_measure_of_a_column_fits_its_name() -> None:
    named = {"WA": "wa", "UA": "ua", "Acc": "wa", "W-F1": "wf1", "WF1": "wf1", "accuracy": "wa", "Mean": "ua"}
    for name in COLUMNS:
        for task in tables.load(name).tasks:
            assert {c: m for c, m in task.metrics.items() if c in named} == {
                c: named[c] for c in task.metrics if c in named
            }
            emotions = {c: m for c, m in task.metrics.items() if c not in named}
            prefix = {"happy": "recall:hap", "anger": "recall:ang", "sad": "recall:sad", "natural": "recall:neu"}
            assert all(m.startswith(prefix[c]) for c, m in emotions.items())


def test_every_figure_is_as_printed() -> None:
    """In both directions: nothing added, nothing missing, rows in the papers' order."""
    stored = {
        (name, row.name, protocol): dict(figures)
        for name in COLUMNS
        for row in tables.load(name).rows
        for protocol, figures in row.published.items()
    }
    assert stored == printed()
    for name, columns in COLUMNS.items():
        for protocol in columns:
            rows = [r.name for r in tables.load(name).rows if protocol in r.published]
            assert rows == [row for table, row, task in printed() if (table, task) == (name, protocol)]


def test_papers_differ_in_the_order_of_wa_and_ua() -> None:
    smcn, mcfn = tables.load("smcn-table1"), tables.load("mcfn-table1")
    assert list(smcn.row("SMCN").published["iemocap4"].items()) == [("UA", 77.6), ("WA", 75.6)]
    assert list(mcfn.row("Proposed").published["iemocap4"].items()) == [("WA", 76.0), ("UA", 77.8)]
    assert tables.load("mmrbn-table1").row("MMRBN").published["iemocap4"] == {"WA": 0.760, "UA": 0.766}


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_figures_are_in_the_tables_unit(name: str) -> None:
    table = tables.load(name)
    least, most = (0.3, 1.0) if table.unit == "fraction" else (30.0, 100.0)
    assert all(least < f < most for r in table.rows for figures in r.published.values() for f in figures.values())


def test_which_rows_have_no_published_figures() -> None:
    bare = {(n, r.name) for n in COLUMNS for r in tables.load(n).rows if not r.published}
    panels = {("mcfn-figure2", name) for name in ("w/o DAB", "w/o CMI", "w/o MA", "MCFN")}
    drawn = {("msmser-figure2", f"L={n}") for n in (2, 5, 10, 20, 50)}
    ours = {("smcn-table3", "SMCN, calibration target without gradient")}
    ours |= {("slides-table1", f"{w}, no sentence in both training and test") for w in ("T5", "TRILL-T5 fusion")}
    ours |= {("slides-table2", "T5 (SAVEE_Text), no sentence in both training and test")}
    again = {(n, r.name) for n in COLUMNS for r in tables.load(n).rows if r.name.endswith(" (re-run)")}
    assert bare == panels | drawn | ours | again
    assert all("not a row of the" in tables.load(table).row(row).note for table, row in ours)


@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("smcn-table1", {"A-LSTM [9]": "a-lstm", "GBAN [13]": "gban", "CME [15]": "cme"}),
        ("msmser-table1", {"GBAN [14]": "gban", "CME [20]": "cme", "KS-Transformer [11]": "ks-transformer"}),
        ("mcfn-table1", {"KS-TRM (2022) [17]": "ks-transformer"}),
        ("mmrbn-table2", {"[19] (2022, A-T)": "ks-transformer", "[20] (2023, A-T)": "if-mmin"}),
        ("smcn-table2", {"DialogueRNN [11, 17]": "dialoguernn"}),
        ("mcfn-table2", {"DialogueRNN (2019) [18]": "dialoguernn"}),
    ],
)
def test_a_compared_method_that_is_built_is_run_again_below_its_cited_row(name: str, again: dict[str, str]) -> None:
    rows = tables.load(name).rows
    assert again == {above.name: row.model for above, row in pairwise(rows) if row.name.endswith(" (re-run)")}
    for row in (r for r in rows if r.name.endswith(" (re-run)")):
        assert row.note.startswith("not the paper's run: ")
        # With the features of the whole table, so that only the network differs.
        assert not row.features
        assert not row.settings


CITED = {"mmrbn-table2": 5, "smcn-table1": 5, "smcn-table2": 5, "mcfn-table1": 4, "mcfn-table2": 3, "msmser-table1": 5}


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_other_systems_are_cited_by_reference_and_the_papers_own_are_run(name: str) -> None:
    cited = [r for r in tables.load(name).rows if r.cited]
    assert len(cited) == CITED.get(name, 0)
    assert all("[" in r.name and r.published and not r.ablation and not r.settings for r in cited)
    assert not any("[" in r.name for r in tables.load(name).rows if not r.cited)


def test_systems_that_several_papers_cite_have_the_same_figures_except_for_one() -> None:
    def figures(name: str, row: str) -> tuple[float | None, float | None]:
        published = tables.load(name).row(row).published["iemocap4"]
        scale = 100 if tables.load(name).unit == "fraction" else 1
        wa, ua = (published.get(c) for c in ("WA", "UA"))
        return wa and round(wa * scale, 1), ua and round(ua * scale, 1)

    assert figures("smcn-table1", "FAF [5]") == figures("mcfn-table1", "FAF (2018) [16]")
    assert figures("smcn-table1", "CME [15]") == figures("msmser-table1", "CME [20]")
    assert figures("smcn-table1", "GBAN [13]") == figures("msmser-table1", "GBAN [14]")
    assert figures("smcn-table1", "CMA + Raw waveform [14]") == figures("msmser-table1", "CMA [12]") == (None, 72.8)
    assert figures("mmrbn-table2", "[21] (2023, A-T)") == figures("msmser-table1", "MSMSER (Ours)")
    assert figures("mcfn-table1", "KS-TRM (2022) [17]") == figures("msmser-table1", "KS-Transformer [11]")
    assert figures("mmrbn-table2", "[19] (2022, A-T)") == (74.3, 75.4)
    assert figures("msmser-table1", "KS-Transformer [11]") == (74.3, 75.3)
    assert "75.3" in tables.load("mmrbn-table2").row("[19] (2022, A-T)").note


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("mcfn-table1", "TSIN (2021) [10]", "that holds for KS-TRM only"),
        ("mcfn-table3", "Speech only", "perhaps WA and UA are swapped"),
        ("msmser-table1", "GBAN [14]", "GBAN is [19]"),
        ("msmser-table1", "STSER [19]", "STSER is [14]"),
        ("msmser-table2", "w/o MIT", "without two parts"),
        ("slides-table1", "Text-to-Text Transformer (T5)", "74.0"),
        ("slides-table2", "Multimodal Fusion (IEMOCAP)", "78.775"),
        ("smcn-table3", "SMCN, calibration target without gradient", "not a row of the paper"),
    ],
)
def test_misprints_and_added_rows_are_noted(name: str, row: str, message: str) -> None:
    assert message in tables.load(name).row(row).note


def test_only_speech_only_of_mcfn_has_wa_above_ua() -> None:
    rows = tables.load("mcfn-table3").rows
    assert [r.name for r in rows if r.published["iemocap4"]["WA"] > r.published["iemocap4"]["UA"]] == ["Speech only"]


def test_a_printed_mean_that_is_not_the_mean_is_noted() -> None:
    off = []
    for row in (r for r in tables.load("slides-table1").rows if r.published):
        true = sum(row.published[p]["accuracy"] for p in ("iemocap4", "savee7")) / 2
        off += [row.name] if abs(row.published["mean"]["Mean"] - true) > 0.051 else []
    assert off == ["Text-to-Text Transformer (T5)"]
    off = []
    for row in (r for r in tables.load("slides-table2").rows if r.published):
        (figures,) = row.published.values()
        true = sum(f for c, f in figures.items() if c != "Mean") / 4
        off += [row.name] if abs(figures["Mean"] - true) > 0.051 else []
        assert bool(row.note) == (row.name in off)
    assert off == ["Multimodal Fusion (IEMOCAP)"]


@pytest.mark.parametrize(("row", "task"), OWN)
def test_every_row_is_an_existing_variant_that_accepts_its_settings(row: TableRow, task: TableTask) -> None:
    assert row.model in MODELS
    assert row.ablation is None or row.ablation in MODELS[row.model].ablations
    _, ablation, spec = variant(row.model, row.ablation)
    fixed = spec.ablations[ablation].settings if ablation else {}
    for corpus in ("iemocap", "meld"):
        preset = dataclasses.replace(spec.preset(corpus), **fixed)
        config = with_settings(preset, row.settings, spec.modalities, ablation, fixed)
        set_to = {key: value for key, _, value in (pair.partition("=") for pair in row.settings)}
        assert {key: str(getattr(config, key)).lower() for key in set_to} == set_to
    # Each of its modalities has a feature, and one that is absent at inference is optional.
    assert set(spec.modalities) <= {*task.features, *row.features}
    assert row.without is None or row.without in spec.optional


@pytest.mark.parametrize("name", ["mmrbn-table1", "smcn-table3", "mcfn-table3", "msmser-table2"])
def test_an_ablation_table_has_every_ablation_that_the_paper_names(name: str) -> None:
    table = tables.load(name)
    (model,) = {r.model for r in table.rows}
    missing = set(MODELS[model].ablations) - {r.ablation for r in table.rows}
    assert missing == ({"w/o RMM"} if model == "msmser" else set())  # which is in Table 3


@pytest.mark.parametrize(
    ("model", "features"),
    [
        ("mmrbn", {"audio": "hubert", "text": "bert"}),
        ("smcn", {"audio": "logmel", "text": "bert"}),
        ("mcfn", {"audio": "logmel-mcfn", "text": "roberta"}),
        ("msmser", {"audio": "hubert", "text": "mpnet"}),
        ("slides", {"audio": "trill", "text": "t5"}),
    ],
)
def test_the_features_and_selection_of_a_paper(model: str, features: dict[str, str]) -> None:
    mine = [tables.load(n) for n in COLUMNS if n.startswith(model)]
    last = model in ("smcn", "msmser")
    for table in mine:
        for task in table.tasks:
            assert task.features == ({"text": "t5"} if "goemotions" in task.protocol else features)
            assert task.select == ("last" if last else "validation")
        assert ("roberta" in table.fine_tuned) == (model == "mcfn")


def test_each_audio_row_of_the_slides_has_its_own_feature() -> None:
    table = tables.load("slides-table1")
    taken = [r.features["audio"] for r in table.rows if r.ablation == "Audio"]
    assert taken == ["vggish-fc1", "vggish-finetuned", "yamnet-layer10", "yamnet-finetuned", "trill", "trill-finetuned"]
    assert set(table.fine_tuned) == {f for f in taken if f.endswith("finetuned")}
    assert [r.ablation for r in table.rows[6:]] == ["Text", None, "Text", None]
    assert any("name no metric" in note for note in table.notes)


def test_the_third_result_table_notes_that_its_protocol_is_not_stated() -> None:
    table = tables.load("slides-table3")
    assert all("protocol not stated" in r.note for r in table.rows)
    assert [r.tasks for r in table.rows] == [
        ("joint4",),
        ("ravdess4",),
        ("joint4-ravdess",),
        ("goemotions4",),
        ("joint4-goemotions",),
    ]
    assert [r.ablation for r in table.rows] == [None, None, None, "Text", "Text"]


def test_the_modalities_masked_at_inference() -> None:
    rows = tables.load("msmser-table3").rows
    assert [(r.ablation, r.without) for r in rows] == [
        ("w/o RMM", None),
        ("w/o RMM", "audio"),
        ("w/o RMM", "text"),
        (None, None),
        (None, "audio"),
        (None, "text"),
    ]
    assert all(("only text" in r.name) == (r.without == "audio") for r in rows)
    assert all(("only audio" in r.name) == (r.without == "text") for r in rows)


def test_the_figures_vary_the_papers_settings() -> None:
    figures = {n: figure for n in COLUMNS if (figure := tables.load(n).figure)}
    assert {n: f.kind for n, f in figures.items()} == {
        "mcfn-figure2": "tsne",
        "mcfn-figure3": "grid",
        "msmser-figure2": "line",
    }
    tenths = [0.1, 0.2, 0.3, 0.4, 0.5]
    assert figures["mcfn-figure3"].over == {"alpha": tenths, "beta": tenths}
    assert figures["msmser-figure2"].over == {"tokens": [2, 5, 10, 20, 30, 50]}
    assert [r.settings for r in tables.load("msmser-figure2").rows] == [
        (f"tokens={n}",) for n in figures["msmser-figure2"].over["tokens"]
    ]
    assert [r.ablation for r in tables.load("mcfn-figure2").rows] == ["w/o DAB", "w/o CMI", "w/o MA", None]


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_tasks_are_protocols_that_have_the_classes(name: str) -> None:
    for task in tables.load(name).tasks:
        classes = protocols.load(task.protocol).classes
        wanted = [m.removeprefix("recall:") for m in task.metrics.values() if m.startswith("recall:")]
        assert set(wanted) <= set(classes)
        assert len(wanted) == len(set(wanted))


def test_modalities_absent_at_inference_are_optional_in_the_model() -> None:
    rows = [r for name in COLUMNS for r in tables.load(name).rows if r.without]
    assert len(rows) == 4
    assert all(r.without in variant(r.model, r.ablation)[2].optional for r in rows)
