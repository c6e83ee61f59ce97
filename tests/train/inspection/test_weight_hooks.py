"""Weights read from models: against sums by hand and the models' own results, without padding, without traces."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from train_samples import shrunk

from emofuse.train.data.batches import TaskData
from emofuse.train.data.ragged import RaggedModality
from emofuse.train.fitting.loop import predict
from emofuse.train.inspection.readers import READERS, WITHOUT, hooks_of
from emofuse.train.inspection.weight_hooks import observe
from emofuse.train.models.base import Inputs
from emofuse.train.models.blocks.layers import MultiHeadAttention
from emofuse.train.models.mcfn_layers import DualAttention
from emofuse.train.models.registry import MODELS, variant

SIZES = {"audio": 6, "text": 5}
LENGTHS = {"audio": [9, 4, 12, 6], "text": [3, 7, 2, 5]}
ALL = np.arange(4)


def built(name, ablation=None, **settings):
    torch.manual_seed(0)
    name, ablation, spec = variant(name, ablation)
    fixed = spec.ablations[ablation].settings if ablation else {}
    config = shrunk(spec.preset("tiny"), **(dict(fixed) | settings))
    modalities = spec.modalities if spec.needs != "one" else ("audio",)
    dimensions = {m: SIZES[m] for m in modalities}
    return spec.build(config, Inputs(**dimensions, classes=4, layers=3 if spec.layered else 0)).eval()


def data_for(model, modalities=("audio", "text")):
    generator = torch.Generator().manual_seed(1)
    buffers = {}
    for m in modalities:
        lengths = torch.tensor(LENGTHS[m])
        values = torch.randn(int(lengths.sum()), SIZES[m], generator=generator)
        buffers[m] = RaggedModality(values=values, starts=lengths.cumsum(0) - lengths, lengths=lengths)
    return TaskData(modalities=buffers, labels=torch.tensor([0, 1, 2, 3]), statistics={})


def of(data, modality, i):
    buffer = data.modalities[modality]
    start, length = int(buffer.starts[i]), int(buffer.lengths[i])
    return buffer.values[None, start : start + length], torch.tensor([length])


@pytest.mark.parametrize("name", sorted(READERS))
def test_weights_are_of_true_frames_only_and_leave_the_model_as_it_was(name):
    model = built(name)
    data = data_for(model, MODELS[name].modalities)
    before = predict(model, data, ALL)[0]
    hooks = hooks_of(name, model)
    observed = observe(model, data, ALL, hooks)
    np.testing.assert_array_equal(observed.probabilities, before)
    assert not any(module._forward_hooks for module in model.modules())
    assert hooks
    assert len({p.name for p in hooks}) == len(hooks)
    alone = [observe(model, data, ALL[[i]], hooks) for i in range(4)]
    for hook in hooks:
        for i, weights in enumerate(observed.weights[hook.name]):
            if hook.over in LENGTHS:
                assert len(weights) == LENGTHS[hook.over][i]
            np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
            assert (weights >= 0).all()
            np.testing.assert_allclose(alone[i].weights[hook.name][0], weights, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(alone[2].fused[0], observed.fused[2], rtol=1e-4, atol=1e-6)


def test_every_model_is_read_or_says_why_not():
    assert {entry.name for entry in MODELS} <= {*READERS, *WITHOUT}
    assert not set(READERS) & set(WITHOUT)


@torch.no_grad()
def test_attention_pooling_by_hand():
    model = built("text")
    data = data_for(model, ("text",))
    observed = observe(model, data, ALL, hooks_of("text", model))
    for i in range(4):
        states = model.gru["text"](*of(data, "text", i))[0]
        attention = model.attention["text"]
        scores = [float(torch.tanh(attention.inner.weight @ h + attention.inner.bias) @ attention.u) for h in states]
        expected = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(observed.weights["attention over text"][i], expected, rtol=1e-4)
        pooled = (torch.tensor(expected, dtype=torch.float32)[:, None] * states).sum(0)
        np.testing.assert_allclose(observed.fused[i], pooled, rtol=1e-4, atol=1e-6)  # no aux: the head's input


@torch.no_grad()
def test_smcn_weights_give_its_own_vectors():
    model = built("smcn")
    data = data_for(model)
    observed = observe(model, data, ALL, hooks_of("smcn", model))
    for i in range(4):
        outputs = model(*of(data, "audio", i), *of(data, "text", i))
        np.testing.assert_allclose(observed.fused[i], outputs.aux["fused"][0], rtol=1e-4, atol=1e-6)
        for m, grus, name, vector in (
            ("audio", model.intra_gru, "intra-modal branch of audio", "F_a"),
            ("text", model.calibration_gru, "calibration branch of text", "Fc_t"),
        ):
            states = grus[m[0]](*of(data, m, i))[0]
            pooled = torch.from_numpy(observed.weights[name][i]) @ states
            np.testing.assert_allclose(pooled, outputs.aux[vector][0], rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_mmrbn_shares_are_those_of_its_weighting():
    model = built("mmrbn")
    data = data_for(model)
    hooks = hooks_of("mmrbn", model)
    observed = observe(model, data, ALL, hooks)
    for i in range(4):
        aux = model(*of(data, "audio", i), *of(data, "text", i)).aux
        audio, text = model.weighting.weights(aux["R_audio"], aux["R_text"])
        expected = [float(audio.mean()), float(text.mean())]
        np.testing.assert_allclose(observed.weights["dynamic weighting"][i], expected, rtol=1e-4)
    assert [p.over for p in hooks] == ["modalities", "text", "audio"]


@torch.no_grad()
def test_coattention_shows_the_last_attention_of_each_modality():
    model = built("coattention", rounds=2, encoder_layers=0)
    data = data_for(model)
    observed = observe(model, data, ALL, hooks_of("coattention", model))
    for i in range(4):
        aux = model(*of(data, "audio", i), *of(data, "text", i)).aux
        for m in ("audio", "text"):
            weights = torch.from_numpy(observed.weights[f"attention over {m}"][i])
            np.testing.assert_allclose(weights @ model.resize[m](of(data, m, i)[0])[0], aux[m][0], rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_mcfn_weights_are_the_mean_over_words_and_heads():
    model = built("mcfn")
    data = data_for(model)
    observed = observe(model, data, ALL, hooks_of("mcfn", model))
    found = {}
    hook = model.collaboration.alignment.register_forward_hook(lambda module, args, output: found.update(args=args))
    model(*of(data, "audio", 0), *of(data, "text", 0))
    hook.remove()
    direct = model.collaboration.alignment.weights(*found["args"])
    assert direct.shape == (1, 2, 3, 9)
    np.testing.assert_allclose(observed.weights["words align to audio"][0], direct.mean((0, 1, 2)), rtol=1e-4)


@torch.no_grad()
def test_msmser_tokens_add_up_to_its_shares():
    model = built("msmser")
    data = data_for(model)
    observed = observe(model, data, ALL, hooks_of("msmser", model))
    shares, tokens = (np.stack(observed.weights[name]) for name in ("query tokens", "each token"))
    assert tokens.shape == (4, 3, 2)
    assert (tokens.min((1, 2)) <= shares.min(1) + 1e-6).all()  # a mean over tokens
    assert (shares.max(1) <= tokens.max((1, 2)) + 1e-6).all()
    found = {}
    layer, pool = model.interaction.layers[-1].cross.attention, model.interaction.pooling
    hooks = [m.register_forward_hook(lambda module, args, output: found.update({module: args})) for m in (layer, pool)]
    model(*of(data, "audio", 1), *of(data, "text", 1))
    for hook in hooks:
        hook.remove()
    direct = pool.weights(*found[pool])[0] @ layer.weights(*found[layer])[0].mean(0)  # 4 frames, then 7 pieces
    np.testing.assert_allclose(shares[1], [direct[:4].sum(), direct[4:].sum()], rtol=1e-4)
    np.testing.assert_allclose(observed.weights["tokens read text"][1], direct[4:] / direct[4:].sum(), rtol=1e-4)


@torch.no_grad()
def test_cme_weights_are_where_the_maxima_are():
    model = built("cme")
    data = data_for(model)
    observed = observe(model, data, ALL, hooks_of("cme", model))
    found = {}
    hook = model.gru.register_forward_hook(lambda module, args, output: found.update(states=output))
    model(*of(data, "audio", 3), *of(data, "text", 3))
    hook.remove()
    winners = found["states"][0].argmax(0)
    expected = np.bincount(winners, minlength=5) / len(winners)
    np.testing.assert_allclose(observed.weights["maximum over words"][3], expected, rtol=1e-5)


@torch.no_grad()
def test_weights_of_attention_are_those_that_forward_uses():
    torch.manual_seed(0)
    layer, query, memory = MultiHeadAttention(8, 2), torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    mask = torch.arange(5) < torch.tensor([[5], [2]])
    weights = layer.weights(query, memory, mask)
    attended = layer.join(weights @ layer.project(query, memory)[2])
    torch.testing.assert_close(attended, layer(query, memory, mask))
    assert (weights[1, :, :, 2:] == 0).all()
    dual, x = DualAttention(8, 2), memory.masked_fill(~mask[:, :, None], 0)
    torch.testing.assert_close(x + dual.weights(x, mask) @ dual.T_3(x), dual.temporal(x, mask))


@pytest.mark.parametrize(("name", "ablation"), [("mmrbn", "MMRBN_add"), ("smcn", "Intra-modal learning"),
                                                ("msmser", "w/o MIT"), ("mcfn", "w/o DAB")])  # fmt: skip
def test_variants_have_the_weights_that_are_left(name, ablation):
    model = built(name, ablation)
    names = {p.name for p in hooks_of(name, model)}
    assert (
        names
        == {
            "mmrbn": {"audio reads text", "text reads audio"},
            "smcn": {f"{branch} branch of {m}" for branch in ("intra-modal", "calibration") for m in ("audio", "text")},
            "msmser": set(),
            "mcfn": {"words align to audio"},
        }[name]
    )
    observe(model, data_for(model), ALL, hooks_of(name, model))
