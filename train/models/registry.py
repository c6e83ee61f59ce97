"""The architectures of `fit --model`: an explicit list, one line each."""

from __future__ import annotations

from dataclasses import replace

from emofuse.common.errors import UnknownNameError
from emofuse.common.registry import Registry
from emofuse.train.models import coattention, dialogue_gru, mcfn, mmrbn, msmser, smcn
from emofuse.train.models.base import ModelSpec
from emofuse.train.models.baselines import (
    a_lstm,
    cme,
    dialoguernn,
    gban,
    gru_and_probes,
    if_mmin,
    ks_transformer,
    lmf,
    mult,
    tfn,
)

MODELS: Registry[ModelSpec] = Registry("model", "emofuse.models", ModelSpec)

MODELS.add("smcn", "Self-guided Modality Calibration Network (Hou et al., ICASSP 2022)", smcn.SPEC)
MODELS.add("mmrbn", "Rule-Based Network for Multimodal Emotion Recognition (Chen, ICASSP 2024)", mmrbn.SPEC)
MODELS.add("mcfn", "Modality-Collaborative Fusion Network (Zhang and Li, Interspeech 2023)", mcfn.SPEC)
MODELS.add("msmser", "Modality-Sensitive Multimodal SER (Wang et al., ICASSP 2023)", msmser.SPEC)
MODELS.add("coattention", "alternating co-attention of speech and text (Leung and Deng, IARIA 2022)", coattention.SPEC)
MODELS.add("cme", "cross-modality excitement, word by word (Li et al., Interspeech 2021)", cme.SPEC)
MODELS.add(
    "ks-transformer", "key-sparse transformer, cascaded cross-attention (Chen et al., ICASSP 2022)", ks_transformer.SPEC
)
MODELS.add("gban", "bidirectional alignment and group gated fusion (Liu et al., Interspeech 2020)", gban.SPEC)
MODELS.add(
    "a-lstm", "words read the frames that they attend to, recurrently (Xu et al., Interspeech 2019)", a_lstm.SPEC
)
MODELS.add("if-mmin", "imagines a missing modality from invariant features (Zuo et al., ICASSP 2023)", if_mmin.SPEC)
MODELS.add("mult", "crossmodal transformers in both directions (Tsai et al., ACL 2019)", mult.SPEC)
MODELS.add("lmf", "low-rank multimodal fusion (Liu et al., ACL 2018)", lmf.SPEC)
MODELS.add("tfn", "tensor fusion network: the outer product of both (Zadeh et al., EMNLP 2017)", tfn.SPEC)
MODELS.add("concat", "GRU and attention per modality, concatenated (SMCN's row Cat)", gru_and_probes.CONCAT)
MODELS.add(
    "dialoguernn", "states of the dialogue, its speakers and the emotion (Majumder et al., AAAI 2019)", dialoguernn.SPEC
)
MODELS.add(
    "dialogue-gru", "a GRU over the turns of a dialogue, causal or not, over any utterance vector", dialogue_gru.SPEC
)
MODELS.add("audio", "GRU and attention on audio alone", gru_and_probes.AUDIO)
MODELS.add("text", "GRU and attention on text alone", gru_and_probes.TEXT)
MODELS.add("linear", "one linear layer on mean and deviation over time", gru_and_probes.LINEAR)
MODELS.add(
    "weighted-layers", "learned sum over an encoder's layers, mean, linear (SUPERB)", gru_and_probes.WEIGHTED_LAYERS
)


def variant(model: str, ablation: str | None) -> tuple[str, str | None, ModelSpec]:
    """Resolve an ablation: the model to build, the ablation to apply to it, and their spec.

    An ablation that is another registered model gives that model without an ablation.

    Raises:
        UnknownNameError: No such model, or no such ablation of it.
    """
    spec = MODELS[model]
    if ablation is None:
        return model, None, spec
    if ablation not in spec.ablations:
        raise UnknownNameError(f"ablation of {model}", ablation, spec.ablations)
    found = spec.ablations[ablation]
    if found.model is not None:
        return found.model, None, MODELS[found.model]
    reads = found.modalities or spec.modalities
    features = {m: f for m, f in spec.features.items() if m in reads}
    optional = spec.optional if reads == spec.modalities else ()
    return model, ablation, replace(spec, modalities=reads, features=features, optional=optional)
