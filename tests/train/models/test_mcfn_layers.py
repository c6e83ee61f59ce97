"""The layers of MCFN on tiny tensors, computed by hand: attentions, masks, deltas, batch norm, skips."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from emofuse.extract.audio.torchaudio_compat import import_torchaudio
from emofuse.train.models.blocks.layers import time_mask
from emofuse.train.models.mcfn_layers import (
    AlignmentAttention,
    DilatedConvolution,
    DualAttention,
    MaskedBatchNorm,
    ModalityCollaboration,
    SpeechEncoder,
    UpgradeFeatureLearning,
    time_frequency_masked,
    with_deltas,
)

torch.set_num_threads(1)

ALMOST_ONE = 1 - 2**-24
"""The largest number that `torch.rand` gives."""


def fill(layer: nn.Module, weight: list[list[float]], bias: list[float] | None = None) -> None:
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))  # type: ignore[operator,union-attr]
        if bias is not None:
            layer.bias.copy_(torch.tensor(bias))  # type: ignore[operator,union-attr]


def test_temporal_attention_is_a_softmax_over_the_frames_that_are_summed() -> None:
    attention = DualAttention(1, 1)
    fill(attention.T_1, [[1.0]])
    fill(attention.T_2, [[1.0]], [1.0])
    fill(attention.T_3, [[1.0]], [0.0])
    x, mask = torch.tensor([[[0.0], [1.0]]]), torch.tensor([[True, True]])
    expected = torch.tensor([[[0.7311], [1.8808]]])
    torch.testing.assert_close(attention.temporal(x, mask), expected, atol=1e-4, rtol=0)
    padded, longer = torch.tensor([[[0.0], [1.0], [0.0]]]), torch.tensor([[True, True, False]])
    torch.testing.assert_close(attention.temporal(padded, longer)[:, :2], expected, atol=1e-4, rtol=0)


def test_temporal_scores_are_not_scaled() -> None:
    torch.manual_seed(0)
    attention, x = DualAttention(3, 4), torch.randn(1, 5, 3)
    weights = torch.softmax(attention.T_2(x) @ attention.T_1(x).transpose(1, 2), dim=2)
    expected = x + weights @ attention.T_3(x)
    torch.testing.assert_close(attention.temporal(x, torch.ones(1, 5, dtype=torch.bool)), expected)


def test_channel_attention_is_a_softmax_over_the_channels_that_are_summed() -> None:
    found = DualAttention(2, 1).channel(torch.tensor([[[1.0, 0.0]]]), torch.ones(1, 1, dtype=torch.bool))
    torch.testing.assert_close(found, torch.tensor([[[1.7311, 0.5]]]), atol=1e-4, rtol=0)


def test_channel_scores_may_be_divided_by_the_root_of_the_utterances_own_length() -> None:
    # Four true frames of five: the scores 4, 0 become 2, 0.
    x = torch.tensor([[[1.0, 0.0]] * 4 + [[0.0, 0.0]]])
    mask = torch.tensor([[True] * 4 + [False]])
    expected = {"none": torch.tensor([4.0, 0.0]).softmax(0), "sqrt": torch.tensor([2.0, 0.0]).softmax(0)}
    for scale, row in expected.items():
        weights = DualAttention(2, 1, scale).channel_weights(x, mask)
        torch.testing.assert_close(weights[0], torch.stack([row, torch.tensor([0.5, 0.5])]))


def test_channel_attention_as_printed_is_nearly_one_hot_on_many_frames() -> None:
    torch.manual_seed(0)
    x, mask = torch.randn(1, 260, 64), torch.ones(1, 260, dtype=torch.bool)
    largest = {scale: DualAttention(64, 8, scale).channel_weights(x, mask).amax(2) for scale in ("none", "sqrt")}
    assert largest["none"].min() > 0.99
    assert largest["sqrt"].mean() > 0.9  # 16 against noise of deviation 1 on 63 others
    x = 0.5 * x
    assert DualAttention(64, 8).channel_weights(x, mask).amax(2).min() > 0.99
    assert DualAttention(64, 8, "sqrt").channel_weights(x, mask).amax(2).max() < 0.8


def test_temporal_attention_is_not_scaled_and_the_branches_are_added() -> None:
    torch.manual_seed(0)
    attention, x, mask = DualAttention(4, 2), torch.randn(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)
    torch.testing.assert_close(attention(x, mask), attention.temporal(x, mask) + attention.channel(x, mask))
    nn.init.zeros_(attention.T_3.weight)
    nn.init.zeros_(attention.T_3.bias)
    assert torch.equal(attention.temporal(x, mask), x)
    names = {name for name, _ in attention.named_parameters()}
    assert names == {"T_1.weight", "T_2.weight", "T_2.bias", "T_3.weight", "T_3.bias"}


def test_alignment_weights_frames_by_a_tanh_without_an_outer_vector() -> None:
    attention = AlignmentAttention(1, 1, 1)
    fill(attention.U, [[1.0]])
    fill(attention.V, [[0.0]], [0.0])
    speech, words = torch.tensor([[[0.0], [1.0]]]), torch.zeros(1, 3, 1)
    found = attention.weights(speech, words, torch.tensor([[True, True]]))
    torch.testing.assert_close(found[0, 0], torch.tensor([[0.3183, 0.6817]]).expand(3, 2), atol=1e-4, rtol=0)
    fill(attention.V, [[0.0]], [0.5])  # tanh(.5) = .4621, tanh(1.5) = .9051
    found = attention.weights(speech, words, torch.tensor([[True, True]]))
    torch.testing.assert_close(found[0, 0, 0], torch.tensor([0.3910, 0.6090]), atol=1e-4, rtol=0)


def test_no_two_frames_of_a_word_differ_by_more_than_e_squared() -> None:
    torch.manual_seed(0)
    attention, mask = AlignmentAttention(4, 2, 4), torch.ones(1, 50, dtype=torch.bool)
    found = attention.weights(100 * torch.randn(1, 50, 4), 100 * torch.randn(1, 6, 4), mask)
    ratio = found.max(dim=3).values / found.min(dim=3).values
    assert ratio.max() <= math.exp(2) * (1 + 1e-5)
    assert ratio.max() > 7


def test_there_is_one_aligned_frame_per_word_and_padded_frames_have_no_weight() -> None:
    torch.manual_seed(0)
    attention, mask = AlignmentAttention(4, 2, 6), time_mask(torch.tensor([2, 5]), 5, torch.device("cpu"))
    speech, words = torch.randn(2, 5, 4), torch.randn(2, 3, 4)
    found = attention.weights(speech, words, mask)
    assert found.shape == (2, 2, 3, 5)
    assert found[0, :, :, 2:].abs().max() == 0
    torch.testing.assert_close(found.sum(3), torch.ones(2, 2, 3))
    assert attention(speech, words, mask).shape == (2, 3, 4)


def test_the_papers_heads_and_units() -> None:
    shapes = {name: tuple(p.shape) for name, p in AlignmentAttention(256, 4, 128).named_parameters()}
    assert shapes == {
        "U.weight": (4, 256),
        "V.weight": (4, 256),
        "V.bias": (4,),
        "value.weight": (128, 256),
        "value.bias": (128,),
        "output.weight": (256, 128),
        "output.bias": (256,),
    }


def test_without_weights_excitement_is_one_half() -> None:
    torch.manual_seed(0)
    part, mask = ModalityCollaboration(4, 2, 4, excitement=True), torch.ones(2, 5, dtype=torch.bool)
    for layer in part.W.values():
        nn.init.zeros_(layer.weight)
    speech, words = torch.randn(2, 5, 4), torch.randn(2, 3, 4)
    crossed = part(speech, words, mask)
    torch.testing.assert_close(crossed[0], 1.5 * part.alignment(speech, words, mask))
    torch.testing.assert_close(crossed[1], 1.5 * words)
    assert {n for n, _ in part.W.named_parameters()} == {"s.weight", "t.weight"}


def test_speech_is_excited_only_by_text_and_text_only_by_speech() -> None:
    torch.manual_seed(0)
    part, mask = ModalityCollaboration(4, 2, 4, excitement=True), torch.ones(1, 5, dtype=torch.bool)
    nn.init.zeros_(part.alignment.V.weight)  # the same frames for every word, so S~ does not depend on text

    def excitement(speech: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        crossed = part(speech, words, mask)
        return crossed[0] / part.alignment(speech, words, mask) - 1, crossed[1] / words - 1

    speech, other_speech, words, other_words = (torch.randn(1, n, 4) for n in (5, 5, 3, 3))
    of_text, of_audio = excitement(speech, words)
    new_speech, new_words = excitement(other_speech, words), excitement(speech, other_words)
    torch.testing.assert_close(new_speech[0], of_text, atol=1e-4, rtol=0)
    torch.testing.assert_close(new_words[1], of_audio, atol=1e-4, rtol=0)
    assert (new_words[0] - of_text).abs().max() > 1e-2
    assert (new_speech[1] - of_audio).abs().max() > 1e-2


def uniforms(*rows: tuple[float, float, float, float]) -> Tensor:
    return torch.tensor(rows)


def test_masks_cover_at_most_15_of_40_bands_and_18_percent_of_an_utterances_frames() -> None:
    x, lengths = torch.ones(4, 100, 40), torch.tensor([100, 50, 5, 100])
    widest, none = (ALMOST_ONE, 0.5), (0.0, 0.5)
    masked = time_frequency_masked(
        x, lengths, uniforms((*widest, *widest), (*widest, *widest), (*none, *widest), (*none, *none)), 15 / 40, 0.18
    )
    bands = [int((masked[i] == 0).all(0).sum()) for i in range(4)]
    frames = [int((masked[i] == 0).all(1).sum()) for i in range(4)]
    assert bands == [15, 15, 0, 0]
    assert frames == [18, 9, 0, 0]
    assert torch.equal(masked[3], x[3])


@pytest.mark.parametrize("start", [0.0, 0.5, ALMOST_ONE])
def test_padded_frames_are_never_masked(start: float) -> None:
    x, lengths = torch.ones(2, 80, 40), torch.tensor([50, 80])
    rows = ((0.0, 0.0, ALMOST_ONE, start),) * 2
    hidden = (time_frequency_masked(x, lengths, uniforms(*rows), 15 / 40, 0.18) == 0).all(2)
    assert hidden.sum(1).tolist() == [9, 14]
    assert not hidden[0, 50:].any()
    first = [int(row.nonzero()[0]) for row in hidden]
    assert first == {0.0: [0, 0], 0.5: [21, 33], ALMOST_ONE: [41, 66]}[start]


def test_every_width_and_start_is_drawn() -> None:
    drawn = torch.rand(4000, 4, generator=torch.Generator().manual_seed(0))
    x = torch.ones(4000, 50, 40)
    masked = time_frequency_masked(x, torch.full((4000,), 50), drawn, 15 / 40, 0.18) == 0
    for hidden, widest in ((masked.all(1), 15), (masked.all(2), 9)):
        widths = hidden.sum(1).bincount(minlength=widest + 1)
        assert len(widths) == widest + 1
        assert (widths / 4000 - 1 / (widest + 1)).abs().max() < 0.02
        assert hidden.any(0).all()
        runs = hidden.long().diff(dim=1).clamp(min=0).sum(1) + hidden[:, 0]
        assert runs.max() == 1


@pytest.mark.parametrize("width", [5, 78, 768])
def test_features_of_any_width_are_masked_by_the_same_share(width: int) -> None:
    rows = uniforms((ALMOST_ONE, ALMOST_ONE, 0.0, 0.0))
    hidden = (time_frequency_masked(torch.ones(1, 3, width), torch.tensor([3]), rows, 15 / 40, 0.18) == 0).all(1)
    assert int(hidden.sum()) == 15 * width // 40


def test_a_masked_band_is_masked_in_its_deltas_too() -> None:
    x, lengths = torch.randn(1, 30, 40, generator=torch.Generator().manual_seed(0)), torch.tensor([30])
    masked = time_frequency_masked(x, lengths, uniforms((ALMOST_ONE, 0.0, 0.0, 0.0)), 15 / 40, 0.18)
    hidden = (with_deltas(masked, lengths) == 0).all(1)[0]
    assert hidden.nonzero().flatten().tolist() == [*range(15), *range(40, 55), *range(80, 95)]


def test_deltas_run_over_time() -> None:
    lengths = torch.tensor([12])
    rising = torch.arange(12.0).reshape(1, 12, 1).expand(1, 12, 4)
    static, first, second = with_deltas(rising, lengths).chunk(3, dim=2)
    assert torch.equal(static, rising)
    torch.testing.assert_close(first[:, 2:-2], torch.ones(1, 8, 4))
    torch.testing.assert_close(second[:, 4:-4], torch.zeros(1, 4, 4))
    over_bands = torch.arange(4.0).expand(1, 12, 4)
    assert with_deltas(over_bands, lengths)[..., 4:].abs().max() == 0


def test_deltas_equal_those_of_torchaudio_within_each_utterance() -> None:
    compute = import_torchaudio().functional.compute_deltas
    torch.manual_seed(0)
    x, lengths = torch.randn(4, 14, 3), torch.tensor([11, 6, 2, 1])
    for found, own, length in zip(with_deltas(x, lengths), x, lengths.tolist(), strict=True):
        first = compute(own[:length].T, win_length=5)
        expected = torch.cat([own[:length].T, first, compute(first, win_length=5)]).T
        torch.testing.assert_close(found[:length], expected)


def test_batch_norm_equals_that_of_all_frames_without_padding() -> None:
    torch.manual_seed(0)
    mine, theirs = MaskedBatchNorm(3), nn.BatchNorm1d(3)
    for weight, bias in ((mine.weight, mine.bias), (theirs.weight, theirs.bias)):
        weight.data, bias.data = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 0.0, -1.0])
    mask = time_mask(torch.tensor([4, 7, 1]), 9, torch.device("cpu"))
    for _ in range(3):
        x = torch.where(mask.unsqueeze(1), torch.randn(3, 3, 9) * 3 + 1, 1e3)
        found, expected = mine(x, mask), theirs(x.transpose(1, 2)[mask])
        torch.testing.assert_close(found.transpose(1, 2)[mask], expected)
        assert found.transpose(1, 2)[~mask].abs().max() == 0
    torch.testing.assert_close(mine.eval()(x, mask).transpose(1, 2)[mask], theirs.eval()(x.transpose(1, 2)[mask]))
    torch.testing.assert_close(mine.running_mean, theirs.running_mean)
    torch.testing.assert_close(mine.running_var, theirs.running_var)


def test_batch_norm_of_a_single_frame_is_finite() -> None:
    norm, mask = MaskedBatchNorm(2), torch.tensor([[True, False]])
    assert norm(torch.ones(1, 2, 2), mask).abs().max() == 0
    assert norm.running_var.isfinite().all()


def test_a_convolution_reaches_two_frames_to_each_side_and_keeps_the_length() -> None:
    layer = DilatedConvolution(1, 1, kernel=3).eval()
    nn.init.ones_(layer.convolution.weight)
    pulse = torch.zeros(1, 1, 9)
    pulse[0, 0, 4] = 1
    found = layer(pulse, torch.ones(1, 9, dtype=torch.bool))
    assert found.shape == pulse.shape
    assert found[0, 0].nonzero().flatten().tolist() == [2, 4, 6]
    assert {name for name, _ in layer.named_parameters()} == {"convolution.weight", "norm.weight", "norm.bias"}


def test_the_papers_channels_and_the_two_kinds_of_skip() -> None:
    for kind, skips in (("stack", [(256, 120, 1)]), ("block", [(64, 120, 1), (128, 64, 1), (256, 128, 1)])):
        encoder = SpeechEncoder(120, 256, kind)
        blocks = [tuple(b.convolution.weight.shape) for span in encoder.spans for b in span.blocks]
        assert blocks == [(64, 120, 3), (128, 64, 3), (256, 128, 3)]
        assert [tuple(span.skip.convolution.weight.shape) for span in encoder.spans] == skips


@pytest.mark.parametrize("kind", ["stack", "block"])
def test_a_skip_adds_what_went_into_its_blocks(kind: str) -> None:
    torch.manual_seed(0)
    encoder, mask = SpeechEncoder(3, 8, kind).eval(), torch.ones(2, 6, dtype=torch.bool)
    x = torch.randn(2, 6, 3)
    for span in encoder.spans:
        nn.init.zeros_(span.blocks[-1].convolution.weight)
    through = x.transpose(1, 2)
    for span in encoder.spans:
        through = span.skip(through, mask)
    torch.testing.assert_close(encoder(x, mask), through.transpose(1, 2))


def test_blocks_end_in_a_leaky_relu_of_slope_one_hundredth_and_the_skip_does_not() -> None:
    span, mask = UpgradeFeatureLearning([1, 2]).eval(), torch.ones(1, 3, dtype=torch.bool)
    for layer, bias in ((span.blocks[0], -1.0), (span.skip, -2.0)):
        nn.init.zeros_(layer.convolution.weight)
        nn.init.constant_(layer.norm.bias, bias)
    torch.testing.assert_close(span(torch.ones(1, 1, 3), mask), torch.full((1, 2, 3), -2.01))
