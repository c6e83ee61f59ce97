"""The filter `where` of a protocol: which utterances it selects, its mistakes, and IEMOCAP's improvised dialogues."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import train_samples as samples

from emofuse.common.errors import UsageError
from emofuse.manifests import protocol_files
from emofuse.manifests.names.joint import join_manifests
from emofuse.manifests.protocol_parsing import parse
from emofuse.manifests.row_filter import where_problems, where_text
from emofuse.manifests.schema import Manifest, Utterance

ROWS = (
    Utterance(id="1", text="x", label="ang", speaker="F1", extra={"scenario": "improvised", "take": 1.0}),
    Utterance(id="2", text="x", label="hap", speaker="F01", extra={"scenario": "scripted", "take": 2.0}),
    Utterance(id="3", text="x", label="sad", speaker="F2", extra={"scenario": "improvised"}),
)


def selected(where: Any, **changes: Any) -> list[str]:
    task = samples.protocol(where=where, **changes)
    return [u.id for u in ROWS if task.class_of(u) is not None]


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({}, ["1", "2", "3"]),
        ({"scenario": "improvised"}, ["1", "3"]),
        ({"scenario": ["improvised", "scripted"]}, ["1", "2", "3"]),
        ({"scenario": "improvised", "speaker": ["F1"]}, ["1"]),
        ({"take": ["1", "2"]}, ["1", "2"]),  # 1.0, as data frames write numbers
        ({"label": ["ang", "sad"]}, ["1", "3"]),
    ],
)
def test_an_utterance_needs_a_selected_value_for_every_key(where: Any, ids: list[str]) -> None:
    assert selected(where) == ids


def test_names_are_compared_in_their_one_spelling() -> None:
    names = {"speaker": {"same": {"F01": "F1"}}}
    assert selected({"speaker": "F1"}, names=names) == ["1", "2"]
    task = samples.protocol(where={"speaker": "F1"}, names=names)
    assert [u.id for u in task.with_one_spelling(ROWS) if task.class_of(u)] == ["1", "2"]


def test_numbers_are_selected_as_numbers_or_text() -> None:
    assert selected({"take": 1}) == selected({"take": 1.0}) == selected({"take": ["1"]}) == ["1"]
    assert selected({"take": [1, 2]}) == ["1", "2"]


def test_unknown_keys_and_values_are_listed_with_the_known_ones() -> None:
    task = samples.protocol(where={"scenarios": "improvised", "scenario": ["improvized"], "take": "3"})
    assert where_problems(task.where, ROWS, {}) == [
        "where.scenarios: no utterance has 'scenarios'; keys: id, label, speaker, scenario, take",
        "where.scenario: no utterance has 'improvized'; values: improvised 2, scripted 1",
        "where.take: no utterance has '3'; values: 1 1, 2 1",
    ]


@pytest.mark.parametrize("where", ["improvised", {"scenario": True}, {"scenario": [["a"]]}, {"scenario": []}])
def test_a_wrong_filter_is_refused(where: Any) -> None:
    with pytest.raises(UsageError, match="where"):
        samples.protocol(where=where)


def test_of_several_corpora_each_has_its_own_filter() -> None:
    task = parse(
        "joint",
        {
            "corpora": ["lab", "other"],
            "source": "a test",
            "classes": ["ang", "hap", "sad"],
            "metrics": ["ua"],
            "where": {"lab": {"speaker": "F1", "scenario": "improvised"}},
            "folds": {"by": {"lab": "speaker", "other": "speaker"}},
        },
    )
    joined = join_manifests(Manifest(corpus=corpus, reader="r", utterances=ROWS) for corpus in ("lab", "other"))
    kept = [u.id for u in joined.utterances if task.class_of(u) is not None]
    assert kept == ["lab:1", "other:1", "other:2", "other:3"]
    assert where_problems(task.where, joined.utterances, {}) == []
    with pytest.raises(UsageError, match="where names corpus 'third'; valid: lab, other"):
        parse("joint", {**_raw_joint(), "where": {"third": {"speaker": "F1"}}})


def _raw_joint() -> dict[str, Any]:
    return {
        "corpora": ["lab", "other"],
        "source": "a test",
        "classes": ["ang"],
        "metrics": ["ua"],
        "folds": {"by": {"lab": "speaker", "other": "speaker"}},
    }


def test_the_filter_in_words() -> None:
    task = samples.protocol(where={"scenario": "improvised", "speaker": ["F1", "F2"]})
    assert where_text(task.where) == "scenario improvised, speaker F1 or F2"


@pytest.mark.parametrize("scenario", ["improvised", "scripted"])
def test_real_counts_of_improvised_and_scripted_iemocap(scenario: str, shared: Path) -> None:
    with (shared / "data/iemocap/utterances.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    utterances = [
        Utterance(
            id=row["id"],
            audio=row["audio"],
            label=row["label"],
            session=row["id"][4],
            extra={"scenario": "improvised" if "impro" in row["id"] else "scripted"},
        )
        for row in rows
    ]
    task = protocol_files.load(f"iemocap4-{scenario}")
    assert task.differences([u for u in utterances if task.class_of(u) is not None]) == []
