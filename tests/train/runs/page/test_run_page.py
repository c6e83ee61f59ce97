"""The page of a run: what it says at the top, in its tables, and of runs that lack something."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import record_samples as samples
from paths import ROOT

from emofuse.common.charts.palette import PRINTED
from emofuse.common.page.blocks import (
    Chart,
    ClassName,
    Commands,
    Examples,
    Facts,
    Headline,
    Page,
    PagedTable,
    Section,
    Sound,
    Table,
    Text,
    Warnings,
)
from emofuse.common.page.render import render
from emofuse.common.page.walk import walk
from emofuse.manifests.schema import Utterance
from emofuse.manifests.targets.target import Target
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.page.extras import PageExtras
from emofuse.train.runs.page.groups import group_scores
from emofuse.train.runs.page.record import RunRecord
from emofuse.train.runs.page.run_page import run_page
from emofuse.train.runs.page.utterances import utterances_section
from emofuse.train.runs.reporting.scored_predictions import ScoredPredictions

pytestmark = pytest.mark.charts

ARCHIVED = ROOT / "tests" / "archives" / "run-v0.1.0" / "runs" / "tiny4-concat-66db0bd5"
ATTACK = "<img src=x onerror=alert(1)>"


def blocks(page: Page) -> Iterator[Any]:
    """All blocks, also those inside others."""
    return walk(block for section in page.sections for block in section.blocks)


def one(page: Page, kind: type, name: str = "") -> Any:
    """The one block of a kind, or of a name."""
    (found,) = [b for b in blocks(page) if isinstance(b, kind) and (not name or b.name == name)]
    return found


def names(page: Page) -> list[str]:
    return [section.name for section in page.sections]


def test_the_headline_is_the_first_metric_of_the_protocol_with_chance_and_interval() -> None:
    record = samples.with_metrics(samples.record(), metrics=["wa", "ua"])
    headline = one(run_page(record), Headline)
    assert headline.value == f"{record.metrics['pooled']['ua']:.3f}"
    assert headline.label == "UA on 60 test utterances, pooled over 2 folds"
    assert headline.interval == "95 % interval 0.300 to 0.700"
    assert "most frequent class would score 0.250. The interval resamples the 6 speakers" in headline.meaning


def test_few_units_make_the_interval_too_narrow() -> None:
    record = samples.record()
    assert "Intervals over 6 speakers are too narrow." in one(run_page(record), Headline).meaning
    many = samples.with_metrics(record, interval=record.metrics["interval"] | {"units": 10})
    assert "narrow" not in one(run_page(many), Headline).meaning


def test_one_fold_is_not_pooled() -> None:
    for seeds in (1, 2):
        record = samples.record(folds=1, seeds=seeds)
        page = run_page(record)
        assert one(page, Headline).label == "UA on 60 test utterances" + (", mean of 2 seeds" if seeds > 1 else "")
        html = render(page)
        assert "pooled" not in html
        assert "ver folds" not in html
    table = one(run_page(samples.record(folds=1)), Table, "folds")
    assert [row[0] for row in table.totals] == ["95 % interval"]
    assert "each fold;" not in render(run_page(samples.record(folds=1)))
    assert "remarks" not in [column.name for column in table.columns]


def test_caveats_are_on_top_once() -> None:
    record = samples.with_metrics(samples.record(), limit=60)
    page = run_page(record)
    assert page.sections[0].blocks[1] == Warnings(lines=["Short run: 60 utterances (--limit)."])
    assert render(page).count("hort run: 60 utterances (--limit)") == 1


def test_the_protocol_is_in_words() -> None:
    text = " ".join(one(run_page(samples.record()), Text).lines)
    assert "Each fold tests one speaker of made, validates on the next one, and trains on the others." in text
    assert "The checkpoint with the best UA on validation is chosen; the test side is scored once" in text
    assert "Audio features are standardised" in text


def test_total_rows_are_as_wide_as_fold_rows() -> None:
    table = one(run_page(samples.record()), Table, "folds")
    assert {len(row) for row in [*table.rows, *table.totals]} == {len(table.columns)}
    assert [row[0] for row in table.rows] == ["1 (part 1)", "2 (part 2)"]
    assert [row[0] for row in table.totals] == ["mean ± std over folds", "pooled", "95 % interval, pooled"]


def test_several_seeds_have_a_table_of_seeds_and_one_of_folds() -> None:
    record = samples.record(seeds=3)
    page = run_page(record)
    assert [row[0] for row in one(page, Table, "seeds").rows] == ["seed 0", "seed 1", "seed 2"]
    by_seed = one(page, Table, "folds-by-seed")
    fold = record.seed_metrics[1]["folds"][0]
    assert by_seed.rows[0][3] == f"{fold['test']['ua']:.3f}"
    assert len(one(page, Table, "folds").rows) == 6
    table = one(page, PagedTable, "utterances-table")
    at = [column.name for column in table.columns].index("seeds right")
    right = sum(row["label"] == row["prediction"] for row in record.predictions if row["id"] == "u00001")
    assert table.rows[1][at] == f"{right} of 3"


def test_right_of_one_seed_and_of_all_seeds_together_are_both_counted() -> None:
    record = samples.record(seeds=3)
    page = run_page(record)
    alone = sum(row["label"] == row["prediction"] for row in record.predictions) / 3
    table = one(page, PagedTable, "utterances-table")
    at = [column.name for column in table.columns].index("right")
    together = sum(row[at] == "yes" for row in table.rows)
    assert f"mean of 3 seeds: {alone:.1f} of 60 right on average" in table.caption
    assert f"decide together, by mean probability: {together} of 60 right." in table.caption
    assert one(page, Examples).caption.endswith("wrong predictions of the 3 seeds together.")
    assert one(run_page(samples.record()), PagedTable, "utterances-table").caption == ""


def test_every_utterance_has_a_row_and_the_most_confident_mistakes_are_cards() -> None:
    record = samples.record()
    texts = {row["id"]: f"text of {row['id']}" for row in record.predictions}
    page = run_page(record, PageExtras(texts=texts, sound=lambda id: f"wav/{id}.wav" if id == "u00000" else None))
    table = one(page, PagedTable, "utterances-table")
    row, predicted = table.rows[0], record.predictions[0]
    shown = dict(zip([column.name for column in table.columns], row, strict=True))
    assert [*shown][:5] == ["id", "label", "prediction", "p", "right"]
    assert row[:3] == ["u00000", ClassName(name=predicted["label"]), ClassName(name=predicted["prediction"])]
    assert (shown["text"], shown["recording"]) == ("text of u00000", Sound(href="wav/u00000.wav"))
    assert len(table.rows) == 60
    wrong = [r for r in record.predictions if r["label"] != r["prediction"]]
    most = max(wrong, key=lambda r: float(r[f"p_{r['prediction']}"]))
    cards = one(page, Examples).examples
    assert cards[0].id == most["id"]
    assert cards[0].text == [(f"text of {most['id']}", 0.0)]
    assert len(cards) == min(20, len(wrong))


def test_the_worst_group_is_marked_and_named() -> None:
    record = samples.record(utterances=90)
    worst = record.metrics["worst_groups"]["speaker"]
    chart = one(run_page(record), Chart, "by-speaker")
    assert f"is {worst['name']} with {worst['ua']:.3f} (n {worst['n']}, interval 0." in chart.alt


def test_a_group_that_may_be_the_lowest_by_chance_is_called_so() -> None:
    for scores, chance in (((0.0, 0.0), True), ((1.0, 1.0), False)):
        record = samples.record(utterances=90)
        record.metrics["pooled"]["ua"] = scores[0]
        chart = one(run_page(record), Chart, "by-speaker")
        assert ("it may be chance" in chart.caption) is chance
        assert chart.caption.startswith("The lowest of all ")


def test_the_headline_says_how_it_relates_to_the_mean_over_folds() -> None:
    record = samples.record(seeds=2)
    (headline,) = [b for b in run_page(record).sections[0].blocks if isinstance(b, Headline)]
    assert f"the mean over folds and seeds, {record.metrics['mean']['ua']:.3f}, weighs each fold" in headline.meaning
    (headline,) = [b for b in run_page(samples.record(folds=1)).sections[0].blocks if isinstance(b, Headline)]
    assert "Pooled" not in headline.meaning


def test_groups_have_the_metric_of_the_protocol_and_intervals_unless_too_small() -> None:
    record = samples.record(utterances=90, seeds=2)
    about = [{**row, "speaker": "small" if row["id"] < "u00009" else row["speaker"]} for row in record.utterances]
    record.config["run"]["protocol"]["metrics"] = ["wf1", "ua"]
    record = replace(record, utterances=about)
    *judged, last = group_scores(record, "speaker", "wf1")
    assert (last.name, last.utterances, last.interval) == ("small", 9, None)
    of = {row["id"] for row in about if row["speaker"] == "s1"}
    each = [
        ScoredPredictions.read(
            Target(classes=record.metrics["classes"]),
            rows := [r for r in record.predictions if r["id"] in of and r["seed"] == s],
            rows,
        ).values()
        for s in ("0", "1")
    ]
    found = next(group for group in judged if group.name == "s1")
    assert found.values["wf1"] == pytest.approx((each[0]["wf1"] + each[1]["wf1"]) / 2)
    assert found.interval[0] < found.values["wf1"] < found.interval[1]
    chart = one(run_page(record), Chart, "by-speaker")
    assert chart.title == "W-F1 by speaker"
    assert "Too small to judge, in grey: 1 speaker of fewer than ten utterances." in chart.caption
    assert [row[0] for row in one(run_page(record), PagedTable, "groups-speaker").rows][-1] == "small"


def test_bins_of_calibration_have_their_counts() -> None:
    record = samples.record()
    table = one(run_page(record), Table, "bins")
    at = [column.name for column in table.columns].index("predictions")
    assert sum(row[at] for row in table.rows) == 60
    own = record.metrics["calibration"]
    calibrated = samples.with_metrics(record, calibration=own | {"calibrated": own})
    assert "own, without the temperature" in one(run_page(calibrated), PagedTable, "utterances-table").caption


def test_bins_of_few_predictions_are_hollow_and_not_joined() -> None:
    record = samples.record(seeds=2)
    bins = record.metrics["calibration"]["reliability"]
    few = sum(b["n"] < 10 for b in bins)
    joined, hollow = one(run_page(record), Chart, "reliability").drawing(PRINTED).axes[0].lines[1:3]
    assert (len(joined.get_xdata()), len(hollow.get_xdata())) == (len(bins) - few, few)
    assert (hollow.get_linestyle(), hollow.get_markerfacecolor()) == ("None", "none")
    assert "120 predictions: 60 utterances, 2 seeds" in one(run_page(record), Chart, "reliability-counts").caption


def test_learning_has_a_line_for_each_fold_over_thin_ones_of_its_seeds() -> None:
    page = run_page(samples.record(seeds=2))
    drawn = [b for b in next(s for s in page.sections if s.name == "learning").blocks if isinstance(b, Chart)]
    assert [chart.name for chart in drawn] == ["validation-ua", "validation-loss", "train-loss"]
    axes = drawn[0].drawing(PRINTED).axes[0]
    curves = [line for line in axes.lines if line.get_linestyle() == "-"]
    assert [line.get_linewidth() < 1 for line in curves] == [True] * 4 + [False] * 2
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["fold 1", "fold 2"]
    assert len({line.get_color() for line in curves}) == 2


def test_provenance_has_no_empty_rows() -> None:
    rows = [row for table in blocks(run_page(samples.record())) if isinstance(table, Table) for row in table.rows]
    assert ["fold_by", "speaker"] in rows
    assert not [row for row in rows if list(row[1:]) == [""]]


def test_parameters_that_an_older_run_does_not_record_are_those_of_its_weights() -> None:
    read = RunRecord.read(Run.open(ARCHIVED))
    assert "parameters" not in read.metrics
    assert read.parameters is not None
    assert f"{read.parameters:,}" in render(run_page(read))


def test_a_class_that_is_never_predicted_is_named() -> None:
    assert one(run_page(samples.record()), Table, "per-class").caption == "Never predicted: class 0."


def test_the_commands_can_be_pasted_into_a_shell() -> None:
    commands = one(run_page(samples.record()), Commands).commands
    assert [shlex.split(command)[0] for command in commands] == ["extract", "fit"]
    assert shlex.split(commands[0])[1:5] == ["--dataset", "made", "--root", "a folder"]
    assert shlex.split(commands[1]) == ["fit", "--store", "a store.h5", "--model", "none"]


def test_the_seconds_of_the_encoder_are_a_cost() -> None:
    record = samples.record()
    record.config["encoder_seconds"] = {"audio": 212.0}
    record.config["provenance"]["audio"]["device"] = "cpu"
    facts = [block for block in blocks(run_page(record)) if isinstance(block, Facts) and block.title == "Cost"]
    assert dict(facts[0].facts)["Encoding logmel"] == "3.5 min on cpu"


def test_what_else_is_at_hand_is_added() -> None:
    section = Section(name="model", title="Model", blocks=[Text(lines=["weights"])])
    extras = PageExtras(model_sections=[section], more_command="emofuse report run")
    page = run_page(samples.record(), extras)
    assert names(page)[names(page).index("learning") + 1] == "model"
    assert one(page, Commands, "more").commands == ["emofuse report run"]


def test_the_modalities_are_compared_where_the_run_has_them() -> None:
    record = samples.record()
    record.config["run"]["features"]["text"] = record.config["run"]["features"]["audio"]
    scores = {"mean": {"ua": 0.4, "wa": 0.4}, "std": {"ua": 0.1, "wa": 0.1}}
    page = run_page(samples.with_metrics(record, without={"audio": scores}))
    assert "text alone 0.400 ± 0.100" in one(page, Chart, "modalities").alt
    assert "modalities" not in names(run_page(samples.record()))


def test_the_commands_say_in_which_folder_they_ran() -> None:
    record = samples.record()
    call, fit = record.config["calls"][0], ["fit", "--store", "a.h5"]
    record.config["calls"][:] = [call | {"command": [*fit, "--jobs", n]} for n in "12"]
    assert one(run_page(record), Commands, "commands").commands[-2:] == [f"fit --store a.h5 --jobs {n}" for n in "12"]
    for call, folder in zip(record.config["calls"], ("/my project", "/there"), strict=True):
        call["folder"] = folder
    commands = one(run_page(record), Commands, "commands").commands
    assert commands[0] == "cd '/my project'"
    assert commands[-3:] == ["fit --store a.h5 --jobs 1", "cd /there", "fit --store a.h5 --jobs 2"]


def test_without_such_scores_the_command_for_them_is_offered() -> None:
    record = samples.record()
    run = record.config["run"]
    run["features"]["text"] = run["features"]["audio"] | {"name": "bert"}
    typed = ["fit", "--store", "a.h5", "--model=msmser", "--text", "bert", "--out", "there"]
    record.config["calls"][0]["command"] = typed
    run["model"] = "msmser"
    (command,) = one(run_page(record), Commands, "one-modality").commands
    assert command == ("fit --store a.h5 --model=msmser --text bert --score-without audio --score-without text")
    run["model"] = "smcn"
    commands = one(run_page(record), Commands, "one-modality").commands
    assert commands == ["fit --store a.h5 --model audio --audio logmel", "fit --store a.h5 --model text --text bert"]
    record.config["calls"][0]["command"] = {"fit": {"store": "a.h5", "model": "smcn", "out": "there"}}
    assert one(run_page(record), Commands, "one-modality").commands[1] == (
        "emofuse.train.fit(store='a.h5', model='text', text='bert')"
    )
    record.config["calls"] = []
    assert "modalities" in names(run_page(record))


@pytest.mark.parametrize(
    "record",
    [
        samples.record(probabilities=False),
        samples.record(folds=1),
        samples.record(classes=40, utterances=400, folds=1),
        samples.record(folds=13, seeds=2, utterances=130),
    ],
    ids=["no probabilities", "one fold", "40 classes", "many folds"],
)
def test_it_renders_whatever_the_run_has(record: RunRecord) -> None:
    html = render(run_page(record))
    assert 'id="table-utterances-table"' in html
    assert len(html.encode()) < 1_500_000


def test_a_run_of_version_0_1_0_renders_and_says_what_is_not_recorded() -> None:
    page = run_page(RunRecord.read(Run.open(ARCHIVED)))
    assert {"groups", "calibration"}.isdisjoint(names(page))
    (protocol,) = (section for section in page.sections if section.name == "protocol")
    assert "early version" in " ".join(protocol.blocks[0].lines)
    assert "0.250" in render(page)


def test_ids_labels_and_texts_that_look_like_html_stay_text() -> None:
    record = samples.record(classes=2, utterances=12)
    rows = [{**row, "id": ATTACK + row["id"]} for row in record.predictions]
    about = [{**row, "id": ATTACK + row["id"], "speaker": ATTACK} for row in record.utterances]
    attacked = RunRecord(
        name=ATTACK, metrics=record.metrics, config=record.config, predictions=rows, utterances=about,
        history=record.history, parameters=None, seed_metrics=record.seed_metrics,
    )  # fmt: skip
    html = render(run_page(attacked, PageExtras(texts={row["id"]: ATTACK for row in rows})))
    assert "<img" not in html


@pytest.mark.slow
def test_ten_thousand_utterances_stay_below_three_megabytes() -> None:
    record = samples.record(classes=28, utterances=10_000, folds=1)
    texts = {row["id"]: "some sixty characters of what somebody wrote on a forum, once" for row in record.predictions}
    assert len(render(run_page(record, PageExtras(texts=texts))).encode()) < 3_000_000


def test_the_table_has_durations_dialogues_and_turns_where_they_are_known() -> None:
    record = samples.record(utterances=60)
    rows = [{**row, "dialogue": f"dia{i // 10}"} for i, row in enumerate(record.utterances)]
    first = rows[0]["id"]
    about = {first: Utterance(id=first, seconds=1.25, turn=7)}
    page = run_page(replace(record, utterances=rows), PageExtras(about=about, remarks=lambda: ["some is not shown"]))
    table = one(page, PagedTable, "utterances-table")
    shown = dict(zip([column.name for column in table.columns], table.rows[0], strict=True))
    assert (shown["seconds"], shown["dialogue"]) == (1.25, "dia0, turn 7")
    other = dict(zip(shown, table.rows[1], strict=True))
    assert (other["seconds"], other["dialogue"]) == (None, "dia0")
    assert next(s for s in page.sections if s.name == "utterances").lead == "Some is not shown."
    assert "seconds" not in [c.name for c in one(run_page(record), PagedTable, "utterances-table").columns]


def test_mistakes_ask_for_their_recordings_first() -> None:
    asked: list[str] = []
    extras = PageExtras(sound=lambda id: asked.append(id))  # type: ignore[func-returns-value]
    section = utterances_section(samples.record(utterances=60), extras)
    (examples,) = (block for block in section.blocks if isinstance(block, Examples))
    shown = [example.id for example in examples.examples]
    assert asked[: len(shown)] == shown
