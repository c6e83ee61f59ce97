"""What a trained model weighs, taken from its own modules while it classifies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emofuse.train.data.batches import TaskData
from emofuse.train.data.ragged import Indices
from emofuse.train.models.base import FusionModel, Outputs
from emofuse.train.models.blocks.layers import masked_mean

Lengths = Mapping[str, Tensor]
"""Modality -> number of frames or words before padding [B]."""
Calls = Sequence[tuple[Any, ...]]
"""The arguments that each of some modules was called with."""
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightHook:
    """One kind of weights in a model."""

    name: str
    """Unique in the model: `calibration branch of audio`."""
    over: Literal["audio", "text", "modalities", "tokens"]
    """What is weighed: frames, word pieces, [audio, text], or the modalities by each of several query tokens."""
    modules: tuple[nn.Module, ...]
    read: Callable[[Calls, Lengths], Tensor]
    """The weights, from the modules' arguments: [B, T], [B, 2] or [B, tokens, 2]; zero on padding, sums of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a model gives for n utterances, in their order."""

    probabilities: Array
    """[n, C]"""
    fused: Array | None
    """[n, D], what the last classifier reads; None where the model's code does not show it."""
    weights: Mapping[str, Sequence[Array]]
    """Name of a hook -> the weights of each utterance, without padding."""


def pooling(name: str, over: Literal["audio", "text"], module: Any) -> WeightHook:
    """The weights [B, T] that a module's own `weights` gives for its arguments."""
    return WeightHook(name=name, over=over, modules=(module,), read=lambda calls, lengths: module.weights(*calls[0]))


def attention(name: str, over: Literal["audio", "text"], by: Literal["audio", "text"], module: Any) -> WeightHook:
    """The weights on each key of an attention, the mean over its heads and over the true time steps of its queries.

    Args:
        over: The modality of the keys.
        by: The modality of the queries.
        module: Its `weights` are [B, h, Tq, Tk] or [B, Tq, Tk].
    """

    def read(calls: Calls, lengths: Lengths) -> Tensor:
        weights = module.weights(*calls[0])
        received = masked_mean(weights.mean(1) if weights.dim() == 4 else weights, lengths[by])
        return received / received.sum(1, keepdim=True)  # key-sparse attention drops some

    return WeightHook(name=name, over=over, modules=(module,), read=read)


@torch.no_grad()
def observe(model: FusionModel, data: TaskData, indices: Indices, hooks: Sequence[WeightHook] = ()) -> Observed:
    """Classify utterances `indices` [n] in evaluation mode and keep what the hooks read.

    The forward hooks are gone afterwards, and the model's results are those without them.
    """
    model.eval()
    calls: dict[nn.Module, tuple[Any, ...]] = {}
    last: list[tuple[Any, Any]] = []
    found: dict[str, dict[int, Any]] = {name: {} for name in ("probabilities", "fused", *(p.name for p in hooks))}
    with ExitStack() as stack:
        for module in {module for hook in hooks for module in hook.modules}:
            handle = module.register_forward_hook(lambda module, args, output: calls.update({module: args}))
            stack.callback(handle.remove)
        for child in model.children():
            handle = child.register_forward_hook(lambda module, args, output: last.append((args, output)))
            stack.callback(handle.remove)
        for batch_indices in data.evaluation_batches(indices):
            batch, places = data.batch(batch_indices), batch_indices.tolist()
            outputs = model(*batch.inputs, **batch.context)
            lengths = {m: x for m, x in zip(("audio", "text"), batch.inputs[1::2], strict=True) if x is not None}
            found["probabilities"] |= dict(zip(places, _arrays(model.probabilities(outputs)), strict=True))
            fused = _classified(outputs, last)
            if fused is not None:
                found["fused"] |= dict(zip(places, _arrays(fused), strict=True))
            for hook in hooks:
                weights = hook.read([calls[module] for module in hook.modules], lengths)
                found[hook.name] |= dict(zip(places, _without_padding(hook, weights, lengths), strict=True))
            calls.clear()
            last.clear()
    order = indices.tolist()
    return Observed(
        probabilities=np.stack([found["probabilities"][i] for i in order]),
        fused=np.stack([found["fused"][i] for i in order]) if found["fused"] else None,
        weights={hook.name: [found[hook.name][i] for i in order] for hook in hooks},
    )


def _classified(outputs: Outputs, last: Sequence[tuple[Any, Any]]) -> Tensor | None:
    """The input [B, D] of the last classifier: `aux["fused"]`, or that of the module whose output is the logits."""
    if "fused" in outputs.aux:
        return outputs.aux["fused"]
    found = [args[0] for args, output in last if output is outputs.logits and args and args[0].dim() == 2]
    return found[-1] if found else None


def _arrays(values: Tensor) -> list[Array]:
    return list(values.float().cpu().numpy())


def _without_padding(hook: WeightHook, weights: Tensor, lengths: Lengths) -> list[Array]:
    rows = _arrays(weights)
    if hook.over not in ("audio", "text"):
        return rows
    return [row[:length] for row, length in zip(rows, lengths[hook.over].tolist(), strict=True)]
