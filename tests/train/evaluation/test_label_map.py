"""Labels of another corpus: equal names, a protocol's classes, maps, and what is left out."""

from __future__ import annotations

import pytest
from train_samples import protocol

from emofuse.common.errors import UsageError
from emofuse.manifests.schema import Utterance
from emofuse.train.evaluation.label_map import NO_LABEL, LabelMap, map_labels

CLASSES = ("ang", "hap", "sad")
PROTOCOL = protocol(classes=["anger", "hap"], labels={"furious": "anger", "happy": "hap", "excited": "hap"})


def utterances(*labels: str | None) -> list[Utterance]:
    return [Utterance(id=str(i), audio="a.wav", label=label) for i, label in enumerate(labels)]


def test_equal_names_are_equal_and_others_are_left_out_where_no_class_waits_for_them() -> None:
    found = map_labels(utterances("ang", "hap", "sad", "calm", "calm", None), CLASSES, None, [], [])
    assert found == LabelMap(
        labels={"ang": "ang", "hap": "hap", "sad": "sad"}, left_out={"calm": 2, NO_LABEL: 1}, absent=()
    )


def test_a_protocol_groups_labels_and_what_it_does_not_know_is_left_out() -> None:
    labels = utterances("furious", "happy", "excited", "odd")
    found = map_labels(labels, CLASSES, PROTOCOL, ["ang=anger"], [])
    assert found.labels == {"furious": "ang", "happy": "hap", "excited": "hap"}
    assert (found.left_out, found.absent) == ({"odd": 1}, ("sad",))


def test_a_map_of_the_corpus_own_label_comes_before_its_protocol() -> None:
    labels = utterances("furious", "happy", "excited", "odd")
    found = map_labels(labels, CLASSES, PROTOCOL, ["ang=furious", "sad=excited", "sad=odd"], [])
    assert found.labels == {"furious": "ang", "happy": "hap", "excited": "sad", "odd": "sad"}


def test_ignored_labels_are_left_out_and_counted() -> None:
    found = map_labels(utterances("ang", "hap", "joy", "joy"), CLASSES, None, [], ["joy", "hap"])
    assert (found.labels, found.left_out) == ({"ang": "ang"}, {"hap": 1, "joy": 2})
    assert found.absent == ("hap", "sad")


def test_a_class_without_utterances_and_labels_without_class_must_be_said_to_differ() -> None:
    with pytest.raises(UsageError) as wrong:
        map_labels(utterances("ang", "happy", "happy", "bored"), CLASSES, None, [], [])
    assert str(wrong.value).startswith(
        "labels of the store that are no class of the run: bored 1, happy 2; classes of the run that no label means: "
        "hap, sad. Map those that mean the same (such as --map hap=happy, the run's class first)"
    )


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(UsageError, match="no utterance of the store has a class of the run: ang, hap, sad"):
        map_labels(utterances("joy"), CLASSES, None, [], ["joy"])
