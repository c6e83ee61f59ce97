"""The order of a dialogue, and what cannot be one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import train_samples as samples

from emofuse.common.errors import UsageError
from emofuse.manifests.folds.cross_validation import Fold, build_folds
from emofuse.manifests.schema import Utterance
from emofuse.train.models.registry import MODELS
from emofuse.train.resolve.dialogues import DialogueTurns, context_remarks, dialogue_turns

PROTOCOL = samples.protocol()


def dialogue(*members: dict[str, Any]) -> list[Utterance]:
    """One dialogue of speakers that take turns."""
    return [
        Utterance(**({"id": f"u{i}", "text": "a", "dialogue": "d", "speaker": "ab"[i % 2], "label": "ang"} | member))
        for i, member in enumerate(members)
    ]


def turns(utterances: Sequence[Utterance], model: str = "dialoguernn") -> DialogueTurns:
    found = dialogue_turns(MODELS[model], model, utterances)
    assert found is not None
    return found


def test_a_model_without_context_has_no_dialogues() -> None:
    assert dialogue_turns(MODELS["text"], "text", [Utterance(id="a", text="a")]) is None


@pytest.mark.parametrize(
    ("members", "places", "by_manifest"),
    [
        pytest.param([{"turn": 7}, {"turn": 3}, {"turn": 4}], [2, 0, 1], 0, id="turns, of which some are not there"),
        pytest.param(
            [{"turn": 2, "audio": "a", "start": 0.0}, {"turn": 1, "audio": "a", "start": 1.0}],
            [1, 0],
            0,
            id="turns first",
        ),
        pytest.param(
            [{"audio": "a", "start": 9.0}, {"audio": "a", "start": 1.5}, {"audio": "a", "start": 4.0}],
            [2, 0, 1],
            0,
            id="times in one recording",
        ),
        pytest.param([{"audio": "a", "start": 9.0}, {"audio": "b", "start": 1.0}], [0, 1], 1, id="times of two files"),
        pytest.param([{}, {}, {}], [0, 1, 2], 1, id="the manifest"),
    ],
)
def test_the_order_of_a_dialogue(members: list[dict[str, Any]], places: list[int], by_manifest: int) -> None:
    found = turns(dialogue(*members))
    assert found.turn.tolist() == places
    assert found.by_manifest == by_manifest


def test_speakers_are_numbered_within_each_dialogue_in_the_order_they_speak() -> None:
    members = [
        *dialogue({"turn": 1, "speaker": "Ross"}, {"turn": 0, "speaker": "Joey"}, {"turn": 2, "speaker": "Joey"}),
        *[replace(u, id=f"e{u.id}", dialogue="e") for u in dialogue({"speaker": "Ross"}, {"speaker": "Phoebe"})],
    ]
    found = turns(members)
    assert found.speaker.tolist() == [1, 0, 0, 0, 1]
    assert found.dialogue.tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([{"dialogue": None}, {}], "the dialogue of 1 of 2 utterances is unknown, u0 first"),
        ([{"speaker": None}, {}], "the speaker of 1 of 2 utterances is unknown, u0 first"),
        ([{"turn": 1}, {"turn": 1}, {"turn": 2}], "dialogue d: turn 1 is there 2 times: u0, u1"),
        (
            [{"turn": 1}, {}, {"turn": 2}],
            "dialogue d: 1 of 3 utterances have no turn, u1 first: number all of them, or none",
        ),
    ],
)
def test_what_is_no_dialogue_is_refused(members: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(UsageError, match="model dialoguernn reads dialogues") as error:
        turns(dialogue(*members))
    assert message in str(error.value)


def test_a_gru_needs_no_speakers() -> None:
    assert turns(dialogue({"speaker": None}, {}), "dialogue-gru").turn.tolist() == [0, 1]


def remarks(folds: Sequence[Fold], utterances: Sequence[Utterance], every: Sequence[Utterance]) -> list[str]:
    spec = MODELS["dialogue-gru"]
    return context_remarks(spec, spec.preset(""), turns(utterances), folds, every)


def test_a_user_reads_what_the_context_is() -> None:
    utterances = samples.utterances()
    folds = build_folds(PROTOCOL, utterances, "validation")
    unlabelled = replace(utterances[0], id="more", label=None)
    assert remarks(folds, utterances, [*utterances, unlabelled]) == [
        "context: the turns of the dialogue before and after an utterance, on the same side of the fold",
        "context: 1 other utterance of these dialogues, not in the task, not read",
        "context: 16 dialogues without turns or times, in the order of the manifest",
    ]


def test_a_dialogue_that_the_folds_cut_is_said() -> None:
    first, *others = utterances = samples.utterances()
    fold = Fold(number=1, name="a", validated=None, train=tuple(others), validation=(), test=(first,))
    assert "context: 1 dialogue cut by the folds; each side reads its own turns alone" in remarks(
        [fold], utterances, utterances
    )
