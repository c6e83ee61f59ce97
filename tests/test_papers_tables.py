"""The published tables: they say what the papers print and name variants that exist; mistakes in one are told."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.manifests import protocol as protocols
from emofuse.train.models.config import with_settings
from emofuse.train.models.registry import MODELS, variant
from emofuse.train.papers import table as tables
from emofuse.train.papers.table import Row, Table, Task

EMOTIONS = ["happy", "anger", "sad", "natural"]
# Every task's columns, left to right, as the paper prints them.
COLUMNS: dict[str, dict[str, list[str]]] = {
    "mmrbn-table1": {"iemocap4": ["WA", "UA"]},
    "mmrbn-table2": {"iemocap4": ["WA", "UA"]},
    "smcn-table1": {"iemocap4": ["UA", "WA"]},
    "smcn-table2": {"meld7": ["Acc", "W-F1"]},
    "smcn-table3": {"iemocap4": ["UA", "WA"], "meld7": ["Acc", "W-F1"]},
    "mcfn-table1": {"iemocap4": ["WA", "UA"]},
    "mcfn-table2": {"meld7": ["Acc", "WF1"]},
    "mcfn-table3": {"iemocap4": ["WA", "UA"], "meld7": ["Acc", "WF1"]},
    "mcfn-figure2": {"iemocap4": ["WA", "UA"]},
    "mcfn-figure3": {"iemocap4": ["WA", "UA"]},
    "msmser-table1": {"iemocap4": ["UA", "WA"]},
    "msmser-table2": {"iemocap4": ["UA", "WA"]},
    "msmser-table3": {"iemocap4": ["UA", "WA"]},
    "msmser-figure2": {"iemocap4": ["UA", "WA"]},
    "slides-table1": {p: ["accuracy", "UA"] for p in ("iemocap4", "savee7", "savee7-sentences")},
    "slides-table2": {p: [*EMOTIONS, "Mean"] for p in ("iemocap4", "savee4", "savee4-sentences")},
    "slides-table3": {
        p: [*EMOTIONS] for p in ("joint4", "ravdess4", "goemotions4", "joint4-ravdess", "joint4-goemotions")
    },
}

# Typed from the papers: table | row | task | figures in the order of COLUMNS, "-" where the paper prints none.
PRINTED = """
mmrbn-table1   | AM_6                              | iemocap4 | 0.678 0.702
mmrbn-table1   | TM_6                              | iemocap4 | 0.684 0.709
mmrbn-table1   | MMRBN_2 (w/o Rule 1)              | iemocap4 | 0.735 0.755
mmrbn-table1   | MMRBN_4 (w/o Rule 1)              | iemocap4 | 0.739 0.759
mmrbn-table1   | MMRBN_conca (w/o Rule 2)          | iemocap4 | 0.738 0.746
mmrbn-table1   | MMRBN_add (w/o Rule 2)            | iemocap4 | 0.733 0.749
mmrbn-table1   | MMRBN                             | iemocap4 | 0.760 0.766
mmrbn-table2   | [17] (2022, A)                    | iemocap4 | 0.698 0.711
mmrbn-table2   | [18] (2021, A-T)                  | iemocap4 | 0.717 0.75
mmrbn-table2   | [19] (2022, A-T)                  | iemocap4 | 0.743 0.754
mmrbn-table2   | [20] (2023, A-T)                  | iemocap4 | 0.741 0.754
mmrbn-table2   | [21] (2023, A-T)                  | iemocap4 | 0.752 0.764
mmrbn-table2   | MMRBN                             | iemocap4 | 0.760 0.766
smcn-table1    | FAF [5]                           | iemocap4 | 72.7 72.7
smcn-table1    | A-LSTM [9]                        | iemocap4 | 70.9 72.5
smcn-table1    | GBAN [13]                         | iemocap4 | 70.1 72.4
smcn-table1    | CMA + Raw waveform [14]           | iemocap4 | 72.8 -
smcn-table1    | CME [15]                          | iemocap4 | 73.5 72.7
smcn-table1    | SMCN                              | iemocap4 | 77.6 75.6
smcn-table2    | DialogueRNN [11, 17]              | meld7    | -    60.3
smcn-table2    | MMFA-RNN [18]                     | meld7    | 63.3 60.6
smcn-table2    | GNN+self-attention [19]           | meld7    | 61.8 -
smcn-table2    | Semi-supervised MMER [20]         | meld7    | -    57.1
smcn-table2    | CTNet [21]                        | meld7    | 60.8 62.0
smcn-table2    | SMCN                              | meld7    | 64.9 62.3
smcn-table3    | Audio                             | iemocap4 | 62.7 59.9
smcn-table3    | Text                              | iemocap4 | 68.6 67.6
smcn-table3    | Cat                               | iemocap4 | 75.4 73.2
smcn-table3    | Intra-modal learning              | iemocap4 | 76.2 73.9
smcn-table3    | Inter-modal calibration           | iemocap4 | 76.7 75.1
smcn-table3    | First interaction                 | iemocap4 | 76.6 74.6
smcn-table3    | Second interaction                | iemocap4 | 76.9 75.2
smcn-table3    | SMCN                              | iemocap4 | 77.6 75.6
smcn-table3    | Audio                             | meld7    | 48.9 35.8
smcn-table3    | Text                              | meld7    | 62.5 60.9
smcn-table3    | Cat                               | meld7    | 63.6 60.4
smcn-table3    | Intra-modal learning              | meld7    | 63.7 60.3
smcn-table3    | Inter-modal calibration           | meld7    | 64.2 61.1
smcn-table3    | First interaction                 | meld7    | 64.4 61.3
smcn-table3    | Second interaction                | meld7    | 64.0 60.5
smcn-table3    | SMCN                              | meld7    | 64.9 62.3
mcfn-table1    | FAF (2018) [16]                   | iemocap4 | 72.7 72.7
mcfn-table1    | TSIN (2021) [10]                  | iemocap4 | 74.9 76.6
mcfn-table1    | TDNN (2021) [3]                   | iemocap4 | 75.5 76.6
mcfn-table1    | KS-TRM (2022) [17]                | iemocap4 | 74.3 75.3
mcfn-table1    | Proposed                          | iemocap4 | 76.0 77.8
mcfn-table2    | DialogueRNN (2019) [18]           | meld7    | -    60.3
mcfn-table2    | SSM(2020) [19]                    | meld7    | -    57.1
mcfn-table2    | CTNet (2021) [20]                 | meld7    | 60.8 62.0
mcfn-table2    | Proposed                          | meld7    | 64.5 62.2
mcfn-table3    | Speech only                       | iemocap4 | 62.1 60.3
mcfn-table3    | Text only                         | iemocap4 | 68.1 69.1
mcfn-table3    | Bimodal                           | iemocap4 | 74.5 75.8
mcfn-table3    | w/o DAB                           | iemocap4 | 75.1 75.8
mcfn-table3    | w/o CMI                           | iemocap4 | 74.8 75.7
mcfn-table3    | w/o Intra-modal^s                 | iemocap4 | 74.5 74.9
mcfn-table3    | w/o Intra-modal^t                 | iemocap4 | 73.2 74.1
mcfn-table3    | w/o MA                            | iemocap4 | 75.5 76.4
mcfn-table3    | Proposed                          | iemocap4 | 76.0 77.8
mcfn-table3    | Speech only                       | meld7    | 48.1 36.7
mcfn-table3    | Text only                         | meld7    | 63.1 59.8
mcfn-table3    | Bimodal                           | meld7    | 63.6 60.5
mcfn-table3    | w/o DAB                           | meld7    | 64.2 61.4
mcfn-table3    | w/o CMI                           | meld7    | 63.8 61.1
mcfn-table3    | w/o Intra-modal^s                 | meld7    | 64.2 62.0
mcfn-table3    | w/o Intra-modal^t                 | meld7    | 63.2 61.5
mcfn-table3    | w/o MA                            | meld7    | 63.5 61.1
mcfn-table3    | Proposed                          | meld7    | 64.5 62.2
mcfn-figure3   | Proposed                          | iemocap4 | 76 77.84
msmser-table1  | CMA [12]                          | iemocap4 | 72.8 -
msmser-table1  | GBAN [14]                         | iemocap4 | 70.1 72.4
msmser-table1  | STSER [19]                        | iemocap4 | 72.1 71.1
msmser-table1  | CME [20]                          | iemocap4 | 73.5 72.7
msmser-table1  | KS-Transformer [11]               | iemocap4 | 75.3 74.3
msmser-table1  | MSMSER (Ours)                     | iemocap4 | 76.4 75.2
msmser-table2  | Text                              | iemocap4 | 66.5 64.7
msmser-table2  | Audio                             | iemocap4 | 64.9 63.2
msmser-table2  | w/o Encoder                       | iemocap4 | 71.9 70.9
msmser-table2  | w/o SelfAtt                       | iemocap4 | 72.5 71.4
msmser-table2  | w/o MIT                           | iemocap4 | 67.2 65.1
msmser-table2  | Full                              | iemocap4 | 76.4 75.2
msmser-table3  | w/o RMM                           | iemocap4 | 73.3 71.7
msmser-table3  | w/o RMM (only text)               | iemocap4 | 63.2 61.2
msmser-table3  | w/o RMM (only audio)              | iemocap4 | 55.5 55.2
msmser-table3  | Full                              | iemocap4 | 76.4 75.2
msmser-table3  | Full (only text)                  | iemocap4 | 65.8 64.4
msmser-table3  | Full (only audio)                 | iemocap4 | 63.4 62.9
msmser-figure2 | L=30                              | iemocap4 | 76.4 75.2
slides-table1  | VGGis FC1                         | iemocap4 | 65.3 -
slides-table1  | VGGish Finetuned                  | iemocap4 | 61.4 -
slides-table1  | YAMNet layer 10                   | iemocap4 | 63.2 -
slides-table1  | YAMNet Finetuned                  | iemocap4 | 67.6 -
slides-table1  | TRILL distilled                   | iemocap4 | 70.5 -
slides-table1  | TRILL Finetuned                   | iemocap4 | 73.8 -
slides-table1  | Text-to-Text Transformer (T5)     | iemocap4 | 75.7 -
slides-table1  | TRILL-T5 Multimodal Fusion        | iemocap4 | 81.7 -
slides-table1  | VGGis FC1                         | savee7   | 57.7 -
slides-table1  | VGGish Finetuned                  | savee7   | 59.3 -
slides-table1  | YAMNet layer 10                   | savee7   | 62.3 -
slides-table1  | YAMNet Finetuned                  | savee7   | 62.7 -
slides-table1  | TRILL distilled                   | savee7   | 67.8 -
slides-table1  | TRILL Finetuned                   | savee7   | 68.6 -
slides-table1  | Text-to-Text Transformer (T5)     | savee7   | 72.3 -
slides-table1  | TRILL-T5 Multimodal Fusion        | savee7   | 75.9 -
slides-table2  | TRILL (IEMOCAP_Audio)             | iemocap4 | 77.2 81.9 72.3 66.8 74.6
slides-table2  | TRILL (SAVEE_Audio)               | savee4   | 73.3 84.3 73.3 66.7 74.4
slides-table2  | T5 (IEMOCAP_Text)                 | iemocap4 | 79.6 82.7 72.2 64.9 74.9
slides-table2  | T5 (SAVEE_Text)                   | savee4   | 75.0 81.7 71.7 66.7 73.8
slides-table2  | Multimodal Fusion (IEMOCAP)       | iemocap4 | 83.1 84.6 76.3 71.1 78.9
slides-table2  | Multimodal Fusion (SAVEE)         | savee4   | 84.7 85.2 74.5 70.3 78.7
slides-table3  | IEMOCAP&SAVEE                     | joint4   | 84.2 86.0 77.9 71.8
slides-table3  | RAVDESS, trained inside it        | ravdess4 | 82.2 87.8 77.8 76.1
slides-table3  | RAVDESS, trained on IEMOCAP and SAVEE          | joint4-ravdess    | 82.2 87.8 77.8 76.1
slides-table3  | GoEmotions, trained inside it (text)           | goemotions4       | 85.4 88.5 79.7 65.3
slides-table3  | GoEmotions, trained on IEMOCAP and SAVEE (text) | joint4-goemotions | 85.4 88.5 79.7 65.3
"""
Figures = dict[tuple[str, str, str], dict[str, float]]


def printed() -> Figures:
    """(table, row, task) -> column -> figure, from `PRINTED`."""
    found: Figures = {}
    for entry in PRINTED.strip().splitlines():
        name, row, task, figures = (part.strip() for part in entry.split("|"))
        columns = zip(COLUMNS[name][task], figures.split(), strict=True)
        found[name, row, task] = {c: float(f) for c, f in columns if f != "-"}
    return found


OWN = [
    pytest.param(row, next(t for t in table.tasks if t.protocol == protocol), id=f"{table.name}-{row.name}-{protocol}")
    for table in map(tables.load, COLUMNS)
    for row in table.rows
    if not row.cited
    for protocol in row.tasks
]


def test_these_are_the_tables() -> None:
    assert tables.names() == sorted(COLUMNS)
    assert len(COLUMNS) == 17


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_a_table_says_what_it_is(name: str) -> None:
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
    # A row's note is joined to others and closed by the renderer.
    assert not any(row.note.endswith(".") for row in table.rows)


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_columns_stand_in_the_papers_order(name: str) -> None:
    assert {t.protocol: list(t.metrics) for t in tables.load(name).tasks} == COLUMNS[name]


def test_the_columns_measure_what_they_are_called() -> None:
    named = {"WA": "wa", "UA": "ua", "Acc": "wa", "W-F1": "wf1", "WF1": "wf1", "accuracy": "wa", "Mean": "ua"}
    for name in COLUMNS:
        for task in tables.load(name).tasks:
            assert {c: m for c, m in task.metrics.items() if c in named} == {
                c: named[c] for c in task.metrics if c in named
            }
            emotions = {c: m for c, m in task.metrics.items() if c not in named}
            prefix = {"happy": "recall:hap", "anger": "recall:ang", "sad": "recall:sad", "natural": "recall:neu"}
            assert all(m.startswith(prefix[c]) for c, m in emotions.items())


def test_every_figure_is_the_papers() -> None:
    """In both directions: nothing that is not printed, nothing missing, rows in the papers' order."""
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


def test_papers_differ_in_what_they_print_first() -> None:
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
    assert bare == panels | drawn | ours
    assert all("not a row of the" in tables.load(table).row(row).note for table, row in ours)


CITED = {"mmrbn-table2": 5, "smcn-table1": 5, "smcn-table2": 5, "mcfn-table1": 4, "mcfn-table2": 3, "msmser-table1": 5}


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_other_peoples_systems_are_cited_by_reference_and_the_papers_own_are_run(name: str) -> None:
    cited = [r for r in tables.load(name).rows if r.cited]
    assert len(cited) == CITED.get(name, 0)
    assert all("[" in r.name and r.published and not r.ablation and not r.settings for r in cited)
    assert not any("[" in r.name for r in tables.load(name).rows if not r.cited)


def test_systems_that_several_papers_cite_have_the_same_figures_but_for_one() -> None:
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
    ("name", "row", "said"),
    [
        ("mcfn-table1", "TSIN (2021) [10]", "that is KS-TRM alone"),
        ("mcfn-table3", "Speech only", "perhaps WA and UA are swapped"),
        ("msmser-table1", "GBAN [14]", "GBAN is [19]"),
        ("msmser-table1", "STSER [19]", "STSER is [14]"),
        ("msmser-table2", "w/o MIT", "lacks two parts"),
        ("slides-table1", "Text-to-Text Transformer (T5)", "74.0"),
        ("slides-table2", "Multimodal Fusion (IEMOCAP)", "78.775"),
        ("smcn-table3", "SMCN, calibration target without gradient", "not a row of the paper"),
    ],
)
def test_what_is_wrong_or_added_is_noted_on_its_row(name: str, row: str, said: str) -> None:
    assert said in tables.load(name).row(row).note


def test_speech_only_is_the_one_row_of_mcfn_with_wa_above_ua() -> None:
    rows = tables.load("mcfn-table3").rows
    assert [r.name for r in rows if r.published["iemocap4"]["WA"] > r.published["iemocap4"]["UA"]] == ["Speech only"]


def test_a_printed_mean_that_is_not_the_mean_is_noted() -> None:
    off = []
    for row in (r for r in tables.load("slides-table1").rows if r.published):
        assert row.note.startswith("printed mean ")
        said = float(row.note.removeprefix("printed mean ").split(";")[0])
        true = sum(row.published[p]["accuracy"] for p in ("iemocap4", "savee7")) / 2
        off += [row.name] if abs(said - true) > 0.051 else []
    assert off == ["Text-to-Text Transformer (T5)"]
    off = []
    for row in (r for r in tables.load("slides-table2").rows if r.published):
        (figures,) = row.published.values()
        true = sum(f for c, f in figures.items() if c != "Mean") / 4
        off += [row.name] if abs(figures["Mean"] - true) > 0.051 else []
        assert bool(row.note) == (row.name in off)
    assert off == ["Multimodal Fusion (IEMOCAP)"]


@pytest.mark.parametrize(("row", "task"), OWN)
def test_every_row_is_a_variant_that_exists_and_takes_its_settings(row: Row, task: Task) -> None:
    assert row.model in MODELS
    assert row.ablation is None or row.ablation in MODELS[row.model].ablations
    _, ablation, spec = variant(row.model, row.ablation)
    fixed = spec.ablations[ablation].settings if ablation else {}
    for corpus in ("iemocap", "meld"):
        preset = dataclasses.replace(spec.preset(corpus), **fixed)
        config = with_settings(preset, row.settings, spec.modalities, ablation, fixed)
        set_to = {key: value for key, _, value in (pair.partition("=") for pair in row.settings)}
        assert {key: str(getattr(config, key)).lower() for key in set_to} == set_to
    # Each modality that it reads has a feature, and what is absent at inference may be.
    assert set(spec.modalities) <= {*task.features, *row.features}
    assert row.without is None or row.without in spec.optional


@pytest.mark.parametrize("name", ["mmrbn-table1", "smcn-table3", "mcfn-table3", "msmser-table2"])
def test_an_ablation_table_has_every_ablation_that_the_paper_names(name: str) -> None:
    table = tables.load(name)
    (model,) = {r.model for r in table.rows}
    missing = set(MODELS[model].ablations) - {r.ablation for r in table.rows}
    assert missing == ({"w/o RMM"} if model == "msmser" else set())  # which has Table 3 to itself


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
def test_a_papers_features_and_how_it_selects(model: str, features: dict[str, str]) -> None:
    mine = [tables.load(n) for n in COLUMNS if n.startswith(model)]
    last = model in ("smcn", "msmser")
    for table in mine:
        for task in table.tasks:
            assert task.features == ({"text": "t5"} if "goemotions" in task.protocol else features)
            assert task.select == ("last" if last else "validation")
        assert ("roberta" in table.fine_tuned) == (model == "mcfn")


def test_the_slides_audio_rows_take_a_feature_each() -> None:
    table = tables.load("slides-table1")
    taken = [r.features["audio"] for r in table.rows if r.ablation == "Audio"]
    assert taken == ["vggish-fc1", "vggish-finetuned", "yamnet-layer10", "yamnet-finetuned", "trill", "trill-finetuned"]
    assert set(table.fine_tuned) == {f for f in taken if f.endswith("finetuned")}
    assert [r.ablation for r in table.rows[6:]] == ["Text", None, "Text", None]
    assert any("name no metric" in note for note in table.notes)


def test_the_third_result_table_says_that_its_protocol_is_not_stated() -> None:
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


def test_what_is_masked_at_inference() -> None:
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


def test_the_figures_vary_what_the_papers_vary() -> None:
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
def test_tasks_are_protocols_that_know_the_classes(name: str) -> None:
    for task in tables.load(name).tasks:
        classes = protocols.load(task.protocol).classes
        wanted = [m.removeprefix("recall:") for m in task.metrics.values() if m.startswith("recall:")]
        assert set(wanted) <= set(classes)
        assert len(wanted) == len(set(wanted))


def test_what_is_absent_at_inference_may_be_absent_in_that_model() -> None:
    rows = [r for name in COLUMNS for r in tables.load(name).rows if r.without]
    assert len(rows) == 4
    assert all(r.without in variant(r.model, r.ablation)[2].optional for r in rows)


def test_a_row_runs_where_it_has_figures_and_everywhere_where_it_has_none() -> None:
    smcn = tables.load("smcn-table3")
    assert {r.tasks for r in smcn.rows} == {("iemocap4", "meld7")}
    raw = minimal()
    raw["tasks"].append({"protocol": "meld7", "metrics": {"Acc": "wa"}})
    raw["rows"].append({"name": "Other [1]", "cited": True, "published": {"meld7": {"Acc": 60.0}}})
    raw["rows"].append({"name": "Told", "tasks": ["meld7"]})
    table = tables.parse("mine", raw)
    assert [r.tasks for r in table.rows] == [("iemocap4", "meld7"), ("meld7",), ("meld7",)]
    assert table.tasks[1].select == "validation"


def test_an_unknown_row_lists_those_that_can_be_run() -> None:
    with pytest.raises(UnknownNameError, match="no row of smcn-table1 named 'smcn'") as caught:
        tables.load("smcn-table1").row("smcn")
    assert str(caught.value).endswith("Valid: SMCN.")


def test_an_unknown_table_lists_all() -> None:
    with pytest.raises(UnknownNameError, match="no table named 'smcn-table9'") as caught:
        tables.load("smcn-table9")
    assert all(name in str(caught.value) for name in COLUMNS)
    assert "reproduce --list" in str(caught.value)


def test_a_file_that_is_not_toml_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken-table1.toml").write_text("paper = \n", encoding="utf-8")
    monkeypatch.setattr(tables, "__file__", str(tmp_path / "table.py"))
    with pytest.raises(UsageError, match=r"broken-table1\.toml is not TOML"):
        tables.load("broken-table1")


def minimal() -> dict[str, Any]:
    """The least that is a table."""
    return {
        "paper": "A. Author, A Paper",
        "where": "Table 1",
        "about": "comparison",
        "unit": "percent",
        "model": "smcn",
        "tasks": [{"protocol": "iemocap4", "metrics": {"WA": "wa", "UA": "ua"}}],
        "rows": [{"name": "Mine"}],
    }


MISTAKES = [
    ("unit", "permille", "unit is 'permille'; valid: fraction, percent"),
    ("paper", 3, "paper is 3, expected text"),
    ("author", "me", "unknown key author; known: about, figure, "),
    ("notes", "one", "notes is 'one', expected a list"),
    ("figure", {"kind": "bars"}, "figure.kind is 'bars'; valid: line, grid, tsne"),
    ("figure", {"kind": "line", "across": {}}, "unknown key figure.across; known: kind, over"),
    ("figure", {"kind": "line", "over": {"tokens": ["2"]}}, "figure.over.tokens, item 1, is '2', expected a number"),
    ("tasks.0.metrics", {"F1": "f1"}, "no metric named 'f1'; valid: wa, ua, wf1, macro_f1, micro_f1, recall:CLASS"),
    ("tasks.0.select", "best", "select is 'best'; valid: validation, last"),
    ("tasks.0.corpus", "iemocap", "unknown key tasks, item 1, corpus; known: features, metrics, protocol, select"),
    ("rows.0.published", {"meld7": {"Acc": 1.0}}, "row 'Mine' has figures for 'meld7', which is no task"),
    ("rows.0.published", {"iemocap4": {"ACC": 1.0}}, "row 'Mine': no column 'ACC'"),
    ("rows.0.published", {"iemocap4": {"WA": "76"}}, "rows, item 1, published.iemocap4.WA is '76', expected a number"),
    ("rows.0.tasks", ["meld7"], "row 'Mine': no task 'meld7'"),
    ("rows.0.settings", ["lr=1"], "unknown key rows, item 1, settings; known: ablation, cited, features, model, "),
    ("rows.0.cited", "yes", "rows, item 1, cited is 'yes', expected true or false"),
    ("model", "", "row 'Mine' has no model"),
    ("rows", [{"name": "Mine"}, {"name": "Mine"}], "row 'Mine' is there 2 times"),
]


@pytest.mark.parametrize(("place", "value", "said"), MISTAKES)
def test_each_mistake_is_told(place: str, value: Any, said: str) -> None:
    raw = minimal()
    assert isinstance(tables.parse("mine", minimal()), Table)
    inner: Any = raw
    *path, last = place.split(".")
    for step in path:
        inner = inner[int(step) if step.isdigit() else step]
    inner[last] = value
    with pytest.raises(UsageError) as caught:
        tables.parse("mine", raw)
    assert str(caught.value).startswith(f"mine is wrong: {said}")


@pytest.mark.parametrize("key", ["paper", "where", "about", "unit", "tasks", "rows"])
def test_what_is_missing_is_told(key: str) -> None:
    raw = minimal()
    del raw[key]
    with pytest.raises(UsageError) as caught:
        tables.parse("mine", raw)
    assert str(caught.value) == f"mine is wrong: {key!r} is missing"


def test_all_mistakes_are_told_at_once() -> None:
    raw = minimal() | {"unit": "permille", "model": ""}
    raw["rows"] = [{"name": "Mine"}, {"name": "Other [1]", "cited": True, "published": {"meld7": {"WA": 1.0}}}]
    with pytest.raises(UsageError) as caught:
        tables.parse("mine", raw)
    lines = str(caught.value).splitlines()
    assert lines[0] == "mine is wrong:"
    # A cited row needs no model, but a task for its figures.
    assert lines[1:] == [
        "  - unit is 'permille'; valid: fraction, percent",
        "  - row 'Mine' has no model",
        "  - row 'Other [1]' has figures for 'meld7', which is no task",
    ]
