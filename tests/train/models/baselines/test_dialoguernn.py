"""DialogueRNN against its equations, turn by turn in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from emofuse.train.data.dialogues import in_batch
from emofuse.train.models.base import Inputs
from emofuse.train.models.baselines.dialoguernn import SPEC, DialogueRNN, DialogueRNNConfig
from emofuse.train.models.blocks.dialogues import Dialogues
from emofuse.train.resolve.dialogues import DialogueTurns

Array = NDArray[np.float64]
# Three dialogues of 4, 1 and 3 turns; up to three speakers.
SPEAKERS = [[0, 1, 2, 0], [0], [0, 0, 1]]
FIRSTS = [0, 4, 5]


def model(**settings: Any) -> DialogueRNN:
    torch.manual_seed(0)
    return DialogueRNN(DialogueRNNConfig(width=5, hidden=4, **settings), Inputs(text=3, classes=4)).double()


def dialogues() -> Dialogues:
    speaker = np.concatenate([np.array(s) for s in SPEAKERS])
    dialogue = np.repeat(np.arange(3), [len(s) for s in SPEAKERS])
    turn = np.concatenate([np.arange(len(s)) for s in SPEAKERS])
    turns = DialogueTurns(dialogue=dialogue, turn=turn, speaker=speaker)
    return in_batch(turns, np.arange(8), torch.device("cpu"))


def utterances() -> torch.Tensor:
    return torch.randn(8, 3, generator=torch.Generator().manual_seed(1)).double()


def logits(network: DialogueRNN, u: torch.Tensor, **more: Any) -> Array:
    ones = torch.ones(8, dtype=torch.int64)
    found: Array = network(None, None, u.unsqueeze(1), ones, dialogues=dialogues(), **more).logits.detach().numpy()
    return found


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def cell(gru: torch.nn.GRUCell, x: Array, h: Array) -> Array:
    w, v, b, c = (p.detach().numpy() for p in (gru.weight_ih, gru.weight_hh, gru.bias_ih, gru.bias_hh))
    i, j = np.split(w @ x + b, 3), np.split(v @ h + c, 3)
    r, z = sigmoid(i[0] + j[0]), sigmoid(i[1] + j[1])
    return (1 - z) * np.tanh(i[2] + r * j[2]) + z * h


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max())
    return np.asarray(e / e.sum())


def emotions(direction: Any, u: Array, speakers: list[int]) -> Array:
    """The emotion states [N, hidden] of one dialogue."""
    q = {s: np.zeros(5) for s in speakers}
    g, e, history, found = np.zeros(5), np.zeros(4), [], []
    match = direction.match.weight.detach().numpy()
    for x, s in zip(u, speakers, strict=True):
        context = np.zeros(5)
        if history:
            alpha = softmax(np.array([x @ match.T @ past for past in history]))
            context = sum(a * past for a, past in zip(alpha, history, strict=True))
        g = cell(direction.global_cell, np.concatenate([x, q[s]]), g)
        history.append(g)
        spoken = cell(direction.party_cell, np.concatenate([x, context]), q[s])
        if direction.listener_cell is not None:
            q = {i: cell(direction.listener_cell, np.concatenate([x, spoken]), state) for i, state in q.items()}
        q = q | {s: spoken}
        e = cell(direction.emotion_cell, q[s], e)
        found.append(e)
    return np.stack(found)


def reference(network: DialogueRNN, u: Array, attention: str) -> Array:
    rows = []
    for first, speakers in zip(FIRSTS, SPEAKERS, strict=True):
        x = u[first : first + len(speakers)]
        states = [emotions(network.directions[0], x, speakers)]
        if len(network.directions) == 2:
            states.append(emotions(network.directions[1], x[::-1], speakers[::-1])[::-1])
        e = np.concatenate(states, axis=1)
        if attention != "none":
            assert network.beta is not None
            w, b = network.beta.weight.detach().numpy(), network.beta.bias.detach().numpy()
            ends = [t + 1 if attention == "past" else len(e) for t in range(len(e))]
            e = np.stack([softmax(e[:end] @ (w @ e[t] + b)) @ e[:end] for t, end in enumerate(ends)])
        for state in e:
            parts = [p.detach().numpy() for p in (*network.hidden.parameters(), *network.classifier.parameters())]
            rows.append(parts[2] @ np.maximum(parts[0] @ state + parts[1], 0) + parts[3])
    return np.stack(rows)


@pytest.mark.parametrize("listener", [False, True])
@pytest.mark.parametrize(
    ("directions", "attention"), [("one", "none"), ("one", "past"), ("one", "all"), ("two", "none"), ("two", "all")]
)
def test_it_computes_the_equations_of_the_paper(directions: str, attention: str, listener: bool) -> None:
    network = model(directions=directions, attention=attention, listener=listener).eval()
    u = utterances()
    np.testing.assert_allclose(logits(network, u), reference(network, u.numpy(), attention), atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "reads"),
    [
        ({"directions": "one", "attention": "none"}, "before"),
        ({"directions": "one", "attention": "past"}, "before"),
        ({"directions": "one", "attention": "all"}, "all"),
        ({"directions": "two", "attention": "none"}, "all"),
    ],
)
def test_what_it_says_of_its_context_is_true(settings: dict[str, str], reads: str) -> None:
    assert SPEC.context is not None
    assert SPEC.context(DialogueRNNConfig(**settings)) == reads
    network, u = model(**settings).eval(), utterances()
    later = u.clone()
    later[3] += 1  # the last turn of the first dialogue
    changed = np.abs(logits(network, later) - logits(network, u)).max(1) > 1e-9
    assert changed.tolist() == [reads == "all"] * 3 + [True] + [False] * 4


def test_who_speaks_matters() -> None:
    network, u = model().eval(), utterances()
    other = dialogues()
    other.speakers[0, 1] = 0
    ones = torch.ones(8, dtype=torch.int64)
    found = network(None, None, u.unsqueeze(1), ones, dialogues=other).logits.detach().numpy()
    assert not np.allclose(found[:4], logits(network, u)[:4])
    np.testing.assert_allclose(found[4:], logits(network, u)[4:])


def test_dropout_keeps_the_mean_of_the_logits_near() -> None:
    network, u = model(listener=True).train(), utterances()
    draws = [network.draw(8, 0, 1, torch.Generator().manual_seed(seed)) for seed in range(60)]
    mean = np.mean([logits(network, u, draws=d) for d in draws], axis=0)
    assert np.abs(mean - logits(network, u)).max() < 0.15
    assert all(mask.dtype == torch.bool for mask in draws[0].values())
