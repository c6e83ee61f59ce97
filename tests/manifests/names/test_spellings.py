"""One person under several spellings: named and refused where folds keep the spellings apart, until a mapping says."""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import Any

import pytest
import train_samples as samples
from paths import SHARED

from emofuse.common.errors import UsageError
from emofuse.manifests.folds.cross_validation import build_folds
from emofuse.manifests.names.spellings import name_key
from emofuse.manifests.schema import Utterance

SPEAKERS = ("1", "2", "3")


def spelled(*forms: str, per_session: int = 4) -> tuple[Utterance, ...]:
    """Three speakers in each of several forms, such as `{}.0`."""
    return tuple(
        replace(u, id=f"{u.id}_{form}", speaker=form.format(u.session), session=None, dialogue=None)
        for form in forms
        for u in samples.utterances(per_session, 3)
    )


def protocol(**changes: Any) -> Any:
    return samples.protocol(folds={"by": "speaker"}, **changes)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "1.0"),
        ("1", "01"),
        ("F1", "f1 "),
        ("F1", "F_1"),
        ("Actor 01", "actor-1"),
        ("\uff26\uff11", "F1"),
        ("0", "00"),
    ],
)
def test_spellings_of_one_name_have_one_key(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "10"),
        ("1.1", "1.10"),
        ("1_11", "11_1"),
        ("1", "11"),
        ("F1", "M1"),
        ("1.5", "1"),
        ("?", "!"),
        ("Jo", "Joe"),
    ],
)
def test_different_names_have_different_keys(one: str, other: str) -> None:
    assert name_key(one) != name_key(other)


def test_spellings_that_folds_keep_apart_are_refused_with_the_groups_and_both_remedies() -> None:
    with pytest.raises(UsageError) as caught:
        build_folds(protocol(), spelled("{}", "{}.0", "{:0>2}"), "validation")
    message = str(caught.value)
    for number in SPEAKERS:
        assert f"\n  - speakers '0{number}', '{number}', '{number}.0'" in message
    assert 'under [names.speaker], that they are the same, such as same = { "01" = "1", "1.0" = "1" }' in message
    assert 'or that they differ, distinct = [["01", "1", "1.0"]]' in message


def test_a_mapping_to_one_name_forms_the_folds() -> None:
    same = {f"{n}.0": n for n in SPEAKERS} | {f"0{n}": n for n in SPEAKERS}
    mapped = protocol(names={"speaker": {"same": same}})
    utterances = mapped.with_one_spelling(spelled("{}", "{}.0", "{:0>2}"))
    folds = build_folds(mapped, utterances, "validation")
    assert [f.name for f in folds] == ["1", "2", "3"]
    assert all(len(f.test) == 12 for f in folds)


def test_names_that_are_declared_distinct_are_different_people() -> None:
    distinct = [[n, f"{n}.0"] for n in SPEAKERS]
    declared = protocol(names={"speaker": {"distinct": distinct}})
    assert len(build_folds(declared, spelled("{}", "{}.0"), "validation")) == 6
    with pytest.raises(UsageError, match=r"speakers '3', '3\.0'") as caught:
        build_folds(protocol(names={"speaker": {"distinct": distinct[:2]}}), spelled("{}", "{}.0"), "validation")
    assert "'1'" not in str(caught.value)


@pytest.mark.parametrize(
    "folds",
    [
        {"by": "session", "disjoint": ["session", "speaker"]},
        {"by": "speaker", "groups": [["1F", "1f", "1M"], ["2F", "2f", "2M"], ["3F", "3f", "3M"]]},
        {"by": "session", "disjoint": ["session"]},
    ],
)
def test_spellings_inside_one_group_or_without_effect_on_the_folds_are_accepted(folds: dict[str, Any]) -> None:
    members = samples.utterances(16, 3)
    lower = [replace(u, speaker=str(u.speaker).replace("F", "f")) if i % 8 == 0 else u for i, u in enumerate(members)]
    assert {"1F", "1f"} < {u.speaker for u in lower}
    assert len(build_folds(samples.protocol(folds=folds), lower, "validation")) == 3


def test_disjoint_speakers_are_checked_where_sessions_form_the_folds() -> None:
    members = [replace(u, speaker="f1" if u.session == "2" and u.speaker == "2F" else u.speaker) for u in UTTERANCES]
    members = [replace(u, speaker="F1") if u.speaker == "1F" else u for u in members]
    with pytest.raises(UsageError, match="speakers 'F1', 'f1'"):
        build_folds(samples.protocol(), members, "validation")


UTTERANCES = samples.utterances()


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        (
            {"same": {"a": "b", "b": "c"}},
            "names.speaker.same: 'a' means 'b', which itself means 'c'",
        ),
        ({"distinct": [["1", "2"]]}, "names.speaker.distinct: '1', '2' are not two or more names that look the same"),
        ({"distinct": [["1"]]}, "names.speaker.distinct: '1' are not two or more names that look the same"),
        (
            {"same": {"01": "1"}, "distinct": [["1", "01"]]},
            "names.speaker: '01' cannot be both the same as another name and distinct",
        ),
        ({"other": 1}, "unknown key names.speaker.other; known: distinct, same"),
    ],
)
def test_rules_that_contradict_each_other_or_have_no_effect_are_refused(rules: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        protocol(names={"speaker": rules})
    assert problem in str(caught.value)


def test_real_names_are_not_mistaken_for_spellings() -> None:
    if not SHARED.exists():
        pytest.skip("the real corpora's metadata is not here")
    speakers = {row["Speaker"] for row in _meld()}
    by_key: dict[tuple[str, ...], set[str]] = {}
    for name in speakers:
        by_key.setdefault(name_key(name), set()).add(name)
    assert len(speakers) > 300
    # A real one; MELD's official split holds out dialogues, and no speaker.
    assert [names for names in by_key.values() if len(names) > 1] == [{"Phoebe Sr", "Phoebe Sr."}]
    dialogues = {row["dialogue"] for row in _meld()}
    assert len({name_key(name) for name in dialogues}) == len(dialogues) == 1432


def test_no_dialogue_of_iemocap_looks_like_another_one() -> None:
    if not SHARED.exists():
        pytest.skip("the real corpora's metadata is not here")
    with (SHARED / "data" / "iemocap" / "utterances.csv").open(encoding="utf-8", newline="") as file:
        dialogues = {row["id"].rpartition("_")[0] for row in csv.DictReader(file)}
    assert len({name_key(name) for name in dialogues}) == len(dialogues) == 151


def _meld() -> list[dict[str, str]]:
    rows = []
    for split in ("train", "dev", "test"):
        with (SHARED / "data" / "meld" / f"{split}_sent_emo.csv").open(encoding="utf-8", newline="") as file:
            rows += [row | {"dialogue": f"{split}_dia{row['Dialogue_ID']}"} for row in csv.DictReader(file)]
    return rows
