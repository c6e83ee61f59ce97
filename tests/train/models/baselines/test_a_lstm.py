"""A-LSTM against PyTorch's own recurrence and attention, one utterance at a time."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from emofuse.common.errors import UsageError
from emofuse.train.models.base import Inputs
from emofuse.train.models.baselines.a_lstm import ALSTM, preset
from emofuse.train.models.blocks.layers import BiGRU, MultiHeadAttention
from emofuse.train.models.config import with_settings

torch.set_num_threads(1)


def gru(mine: BiGRU) -> nn.GRU:
    layer = mine.forwards
    found = nn.GRU(layer.input_size, layer.hidden_size, batch_first=True, bidirectional=True)
    ends = (("forwards", ""), ("backwards", "_reverse"))
    state = mine.state_dict()
    found.load_state_dict({n.removeprefix(f"{d}.") + end: state[n] for d, end in ends for n in state if d in n})
    return found


def attention(mine: MultiHeadAttention, width: int) -> nn.MultiheadAttention:
    found = nn.MultiheadAttention(width, mine.heads, batch_first=True)
    with torch.no_grad():
        found.in_proj_weight.copy_(torch.cat([mine.query.weight, mine.key.weight, mine.value.weight]))
        found.in_proj_bias.copy_(torch.cat([mine.query.bias, torch.zeros(width), mine.value.bias]))
    found.out_proj.load_state_dict(mine.output.state_dict())
    return found


def test_the_equations_one_utterance_at_a_time() -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(preset("iemocap"), width=6, hidden=4, heads=2)
    network = ALSTM(config, Inputs(audio=3, text=5, classes=4)).eval()
    audio, text = torch.randn(2, 6, 3), torch.randn(2, 4, 5)
    lengths, words = torch.tensor([6, 2]), torch.tensor([1, 4])
    found = network(audio, lengths, text, words).logits
    for row in range(2):
        x, e = audio[row : row + 1, : lengths[row]], text[row : row + 1, : words[row]]
        s: Tensor = gru(network.grus["audio"])(network.speech(x).relu())[0]  # type: ignore[arg-type]
        t: Tensor = gru(network.grus["text"])(e)[0]  # type: ignore[arg-type]
        a = attention(network.alignment, 8)(t, s, s)[0]
        g = gru(network.joint)(torch.cat([a, t], dim=2))[0][0]
        pool = network.attention["text"]
        weights = torch.softmax(torch.tanh(pool.inner(g)) @ pool.u, dim=0)  # type: ignore[operator]
        torch.testing.assert_close(found[row], network.classifier(weights @ g), atol=1e-6, rtol=1e-5)


def test_heads_must_divide_the_states() -> None:
    with pytest.raises(UsageError, match="hidden=100, heads=7: expected heads that divide 2 x hidden"):
        with_settings(preset("iemocap"), ["heads=7"], ("audio", "text"))
