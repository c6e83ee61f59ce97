"""What each registered model weighs: the modules to look at, and what their weights mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor

from emofuse.train.inspection.weight_hooks import Calls, Lengths, WeightHook, attention, pooling
from emofuse.train.models.base import OTHER_MODALITY, FusionModel
from emofuse.train.models.blocks.layers import time_mask

Modality = Literal["audio", "text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """What a model weighs."""

    about: str
    """What the weights are, in one or two sentences."""
    hooks: Callable[[Any], Iterator[WeightHook]]
    """Of a trained model; none for an ablation that has no weights. The first one over text colours the words."""


def _modalities(modules: Any) -> list[Modality]:
    return [cast(Modality, m) for m in OTHER_MODALITY if m in modules]


def _recurrent(model: Any) -> Iterator[WeightHook]:
    for m in _modalities(model.attention):
        yield pooling(f"attention over {m}", m, model.attention[m])


def _smcn(model: Any) -> Iterator[WeightHook]:
    branches = {
        "intra-modal branch": model.intra_attention,
        "calibration branch": model.calibration_attention,
        "interaction": model.interaction_attention,
    }
    for modality in OTHER_MODALITY:
        for name, attentions in branches.items():
            if modality[0] in attentions:
                yield pooling(f"{name} of {modality}", cast(Modality, modality), attentions[modality[0]])


def _mmrbn(model: Any) -> Iterator[WeightHook]:
    if hasattr(model, "weighting"):
        yield WeightHook(
            name="dynamic weighting",
            over="modalities",
            modules=(model.weighting,),
            read=lambda calls, lengths: model.weighting.weights(*calls[0]).mean(2).T,
        )
    if model.cross_attention:
        for by, half in model.cross_attention[-1].halves.items():
            over = cast(Modality, OTHER_MODALITY[by])
            yield attention(f"{by} reads {over}", over, by, half.attention)


def _mcfn(model: Any) -> Iterator[WeightHook]:
    names: dict[str, Modality] = {"s": "audio", "t": "text"}
    if len(_modalities_of(model)) == 2:
        yield attention("words align to audio", "audio", "text", model.collaboration.alignment)
    for symbol, layer in model.dual_attention.items():
        yield attention(f"{names[symbol]} reads itself", names[symbol], names[symbol], layer)


def _modalities_of(model: Any) -> list[str]:
    return [name for name in ("speech", "text") if hasattr(model, name)]


def _coattention(model: Any) -> Iterator[WeightHook]:
    final = {m: step for step, m in enumerate(model.order)}  # the last attention of each modality is classified
    for m in _modalities(final):
        yield pooling(f"attention over {m}", m, model.attention[final[m]])


def _msmser(model: Any) -> Iterator[WeightHook]:
    if model.interaction is None:
        return
    modalities = _modalities(model.refinement)
    cross, pool = model.interaction.layers[-1].cross.attention, model.interaction.pooling

    def of_tokens(calls: Calls) -> Tensor:
        """[B, L, Ta + Tt]: what each token reads in the last layer, the mean over heads."""
        weights: Tensor = cross.weights(*calls[0])
        return weights.mean(1)

    def pooled(calls: Calls) -> Tensor:
        """[B, Ta + Tt]: the same, the mean over tokens by the weights of the pooling."""
        return torch.einsum("bl,blt->bt", pool.weights(*calls[1]), of_tokens(calls))

    def part(weights: Tensor, modality: str, lengths: Lengths) -> Tensor:
        """Of weights [..., Ta + Tt] those of one modality, whose padding is as long as the longest utterance."""
        sizes = [int(lengths[m].max()) for m in modalities]
        place = modalities.index(cast(Modality, modality))
        return weights.narrow(-1, sum(sizes[:place]), sizes[place])

    def shares(weights: Tensor, lengths: Lengths) -> Tensor:
        return torch.stack([part(weights, m, lengths).sum(-1) for m in modalities], dim=-1)

    both = (cross, pool)
    if len(modalities) == 2:
        yield WeightHook(name="query tokens", over="modalities", modules=both,
                    read=lambda calls, lengths: shares(pooled(calls), lengths))  # fmt: skip
        yield WeightHook(name="each token", over="tokens", modules=both,
                    read=lambda calls, lengths: shares(of_tokens(calls), lengths))  # fmt: skip
    for m in modalities:
        yield WeightHook(name=f"tokens read {m}", over=m, modules=both, read=_scaled(pooled, part, m))


def _scaled(
    pooled: Callable[[Calls], Tensor], part: Callable[[Tensor, str, Lengths], Tensor], modality: str
) -> Callable[[Calls, Lengths], Tensor]:
    """The weights within one modality, which sum to one."""

    def read(calls: Calls, lengths: Lengths) -> Tensor:
        within = part(pooled(calls), modality, lengths)
        return within / within.sum(1, keepdim=True).clamp(min=1e-12)

    return read


def _mult(model: Any) -> Iterator[WeightHook]:
    for by, stack in model.cross.items():
        over = cast(Modality, OTHER_MODALITY[by])
        yield attention(f"{by} reads {over}", over, by, stack.layers[-1].attention)


def _ks_transformer(model: Any) -> Iterator[WeightHook]:
    for by, stream in model.stream.items():
        over = cast(Modality, OTHER_MODALITY[by])
        yield attention(f"{by} reads {over}", over, by, stream.cross[-1].attention)


def _cme(model: Any) -> Iterator[WeightHook]:
    """The share of the channels whose maximum over words is at each word."""

    def read(calls: Calls, lengths: Lengths) -> Tensor:
        states = model.gru(*calls[0])
        mask = time_mask(lengths["text"], states.shape[1], states.device)
        winner = states.masked_fill(~mask.unsqueeze(2), -torch.inf).argmax(1)
        return torch.zeros(mask.shape, device=states.device).scatter_add(
            1, winner, torch.full(winner.shape, 1 / winner.shape[1], device=states.device)
        )

    yield WeightHook(name="maximum over words", over="text", modules=(model.gru,), read=read)


def _gban(model: Any) -> Iterator[WeightHook]:
    """The gates of both groups, the mean over channels: their share is audio, the rest is text."""

    def read(group: Any) -> Callable[[Calls, Lengths], Tensor]:
        def shares(calls: Calls, lengths: Lengths) -> Tensor:
            audio = group.weights(*calls[0]).mean(1)
            return torch.stack([audio, 1 - audio], dim=1)

        return shares

    for name, group in (("aligned vectors", model.aligned), ("last states", model.last)):
        yield WeightHook(name=name, over="modalities", modules=(group,), read=read(group))


def _a_lstm(model: Any) -> Iterator[WeightHook]:
    yield from _recurrent(model)
    yield attention("words read audio", "audio", "text", model.alignment)


_LAST = "of the last layer, the mean over heads and over the time steps that read"
READERS: Mapping[str, Reader] = {
    "smcn": Reader(
        about="Each branch of each modality sums its frames with attention weights (eq. 3-6, 10, 13): the intra-modal "
        "branch, the calibration branch, which predicts the other modality, and the interaction of the two.",
        hooks=_smcn,
    ),
    "mmrbn": Reader(
        about="Each channel of the fused vector is a weighted sum of audio and text (eq. 1-3); the share is the mean "
        f"over channels. Over time and words: the cross-attention {_LAST}.",
        hooks=_mmrbn,
    ),
    "mcfn": Reader(
        about="Each word aligns to frames of the audio (eq. 3, the mean over heads and words), and within a modality "
        "time steps read each other (eq. 1, the mean over those that read). The votes of its three classifiers are "
        "settings, not learned.",
        hooks=_mcfn,
    ),
    "coattention": Reader(
        about="Text and audio attend to each other in turn (eq. 3); shown is the last attention of each modality, "
        "which the classifier reads.",
        hooks=_coattention,
    ),
    "msmser": Reader(
        about="Query tokens attend to the frames of both modalities at once (section 2.2): the last layer, the mean "
        "over heads, and over tokens by the weights of their pooling.",
        hooks=_msmser,
    ),
    "mult": Reader(about=f"Each modality reads the other one: the crossmodal attention {_LAST}.", hooks=_mult),
    "ks-transformer": Reader(
        about=f"Each modality reads the strongest keys of the other one: the last cross-attention, {_LAST[19:]}, "
        "scaled to a sum of one.",
        hooks=_ks_transformer,
    ),
    "cme": Reader(
        about="There is no attention. The classifier reads the maximum over words of each channel: the weight of a "
        "word is the share of the channels whose maximum is at that word.",
        hooks=_cme,
    ),
    "gban": Reader(
        about="Two gates mix audio and text (eq. 17 and 20), one for the vectors that are aligned with the other "
        "modality and one for the last states; the share is the mean over channels.",
        hooks=_gban,
    ),
    "a-lstm": Reader(
        about="The joint states of the words are summed with attention weights, and each word reads the frames of the "
        "audio (the mean over heads and words).",
        hooks=_a_lstm,
    ),
    "concat": Reader(about="Each modality sums its frames with attention weights.", hooks=_recurrent),
    "audio": Reader(about="The frames are summed with attention weights.", hooks=_recurrent),
    "text": Reader(about="The word pieces are summed with attention weights.", hooks=_recurrent),
}
_DIALOGUES = "It reads whole dialogues, and the weights shown here are those of single utterances."
WITHOUT: Mapping[str, str] = {
    "linear": "It is linear in the mean and deviation over all frames, so it weighs no frame more than another.",
    "weighted-layers": "It weighs the layers of the encoder, the same for every utterance, and no frame more than "
    "another.",
    "if-mmin": "It reads the maximum over time of each modality, without weights of frames or modalities.",
    "lmf": "It multiplies one vector of each modality with the other, without weights of frames or modalities.",
    "tfn": "It multiplies one vector of each modality with the other, without weights of frames or modalities.",
    "dialogue-gru": _DIALOGUES,
    "dialoguernn": _DIALOGUES,
}
"""Why a model has no reader."""


def hooks_of(name: str, model: FusionModel) -> list[WeightHook]:
    """The hooks of a trained model; none where it has no weights to show."""
    return list(READERS[name].hooks(model)) if name in READERS else []
