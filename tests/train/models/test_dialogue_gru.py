"""The GRU over a dialogue: what it reads, and the representations that it reads it from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from emofuse.common.errors import UsageError
from emofuse.train.data.dialogues import in_batch
from emofuse.train.models.base import Inputs
from emofuse.train.models.config import with_settings
from emofuse.train.models.dialogue_gru import FUSION, SPEC, DialogueGRU, DialogueGRUConfig
from emofuse.train.models.registry import MODELS
from emofuse.train.resolve.dialogues import DialogueTurns

TURNS = DialogueTurns(
    dialogue=np.array([0, 1, 0, 1, 0, 2]), turn=np.array([0, 0, 1, 1, 2, 0]), speaker=np.zeros(6, np.int64)
)
DIALOGUES = in_batch(TURNS, np.arange(6), torch.device("cpu"))
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])


def model(audio: int | None = 6, **settings: Any) -> DialogueGRU:
    torch.manual_seed(0)
    return DialogueGRU(DialogueGRUConfig(hidden=5, **settings), Inputs(audio=audio, text=4, classes=4))


def inputs(audio: bool = True) -> tuple[torch.Tensor | None, ...]:
    draw, lengths = torch.Generator().manual_seed(1), torch.tensor([7, 3, 5, 7, 2, 4])
    x, y = torch.randn(6, 7, 6, generator=draw), torch.randn(6, 7, 4, generator=draw)
    padding = torch.arange(7) >= lengths.unsqueeze(1)
    x, y = (z.masked_fill(padding.unsqueeze(2), 0) for z in (x, y))
    return (x, lengths, y, lengths) if audio else (None, None, y, lengths)


@pytest.mark.parametrize(("context", "reads"), [("causal", "before"), ("bidirectional", "all")])
@pytest.mark.parametrize("utterance", ["gru", "mean"])
def test_what_it_says_of_its_context_is_true(context: str, reads: str, utterance: str) -> None:
    assert SPEC.context is not None
    assert SPEC.context(DialogueGRUConfig(context=context)) == reads
    network = model(audio=None, context=context, utterance=utterance).eval()
    _, _, text, lengths = inputs(audio=False)
    assert text is not None
    before = network(None, None, text, lengths, dialogues=DIALOGUES).logits
    later = text.clone()
    later[2, 0] += 1  # the second of three turns of dialogue 0, utterances 0, 2 and 4
    after = network(None, None, later, lengths, dialogues=DIALOGUES).logits
    changed = (after - before).abs().amax(1) > 1e-7
    assert changed.tolist() == [reads == "all", False, True, False, True, False]


@pytest.mark.parametrize("name", FUSION)
def test_a_fusion_model_represents_the_utterances_and_trains_by_its_own_loss_too(name: str) -> None:
    network = model(utterance=name).train()
    assert network.fusion is not None
    batch = inputs()
    draws = network.draw(6, 7, 7, torch.Generator().manual_seed(0))
    outputs = network(*batch, draws=draws, progress=0.5, dialogues=DIALOGUES)
    alone = network.fusion(*batch, draws=draws, progress=0.5)
    torch.testing.assert_close(outputs.aux["utterance"], alone.aux["fused"])
    expected = torch.nn.functional.cross_entropy(outputs.logits, LABELS) + network.fusion.loss(alone, LABELS)
    torch.testing.assert_close(network.loss(outputs, LABELS), expected)
    network.class_weights = torch.tensor([9.0, 1.0, 1.0, 1.0])
    assert network.loss(outputs, LABELS) != expected
    network.loss(outputs, LABELS).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []


def test_a_fusion_model_without_one_of_its_modalities_is_refused() -> None:
    with pytest.raises(UsageError, match=r"utterance=smcn needs audio and text, and no audio is used: .*--audio"):
        with_settings(DialogueGRUConfig(), ["utterance=smcn"], ["text"])


def test_without_dialogues_each_utterance_is_alone() -> None:
    network = model().eval()
    single = replace(TURNS, dialogue=np.arange(6), turn=np.zeros(6, np.int64))
    alone = in_batch(single, np.arange(6), torch.device("cpu"))
    torch.testing.assert_close(network(*inputs()).logits, network(*inputs(), dialogues=alone).logits)
    assert not torch.allclose(network(*inputs()).logits, network(*inputs(), dialogues=DIALOGUES).logits)


def test_the_fusion_models_are_the_registered_ones() -> None:
    assert all(MODELS[name] is spec for name, spec in FUSION.items())
