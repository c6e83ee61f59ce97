"""What the settings change in the batch of a training step: mixup, masks, and the dropout of a modality.

- Mixup (Zhang et al., ICLR 2018) adds to each utterance, weighted by lambda, another one of its batch, weighted by
  1 - lambda; the loss is that of both labels with the same weights. Each step draws one lambda from Beta(mixup, mixup).
  Frames are mixed at equal times: the mixture is as long as the longer utterance, and where the shorter one has ended,
  the longer one continues alone, with its weight. A batch has utterances of similar length, so this part is short.
- Masks (SpecAugment: Park et al., Interspeech 2019, without time warping) set one span of frames and one span of
  dimensions of each modality to zero, which is the mean of a standardised feature.
- Modality dropout sets all values of one of two modalities to zero, of audio and text equally often.
- Rater dropout leaves one random vote of an utterance out, so that its shares are those of the other raters; a single
  vote stays.

The random numbers follow from the seed and the step alone, so a training that resumes, and a batch that is computed in
micro-batches, draws the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from emofuse.train.data.augmented import AugmentedData
from emofuse.train.data.batches import Batch, TaskData
from emofuse.train.data.ragged import Indices, to_device
from emofuse.train.models.config import Config, SequenceConfig

_STREAM = 1
"""Keeps these random numbers apart from those of the order of the batches, which have the same seed."""
_MODALITIES = ("audio", "text")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """The batch of a training step as the model gets it."""

    batch: Batch
    partner_labels: Tensor | None = None
    """[B], of the utterances that were mixed in; None without mixup."""
    share: float = 1.0
    """Lambda, the weight of the loss of the batch's own labels; the rest is that of `partner_labels`."""


MixtureOf = Callable[[Indices], Mixture]
"""Takes row numbers [b] of the batch of a step; gives the changed batch of the utterances in these rows."""


class BatchChanges:
    """Draws and applies what the settings change in the batches of a training.

    Args:
        settings: Of the training.
        seed: Of the run.
    """

    def __init__(self, settings: Config, seed: int) -> None:
        masks = (settings.mask_time, settings.mask_features) if isinstance(settings, SequenceConfig) else (0.0, 0.0)
        self._mixup, self._dropout, self._masks, self._seed = settings.mixup, settings.modality_dropout, masks, seed
        self._raters = settings.rater_dropout

    def of_step(self, data: TaskData | AugmentedData, indices: Indices, step: int) -> MixtureOf:
        """The changes of the batch of a step, which has utterances `indices` [B]."""
        if not any((self._mixup, self._dropout, self._raters, *self._masks)):
            return lambda rows: Mixture(batch=data.batch(indices[rows]))
        generator = np.random.default_rng([self._seed, step, _STREAM])
        return _BatchOfStep(
            data=data,
            indices=indices,
            share=float(generator.beta(self._mixup, self._mixup)) if self._mixup else 1.0,
            partners=generator.permutation(indices) if self._mixup else None,
            uniform=generator.random((len(indices), 10), dtype=np.float32),
            masks=self._masks,
            dropout=self._dropout,
            raters=self._raters,
            votes=generator.random((len(indices), 4), dtype=np.float32) if self._raters else None,
        ).mixture


@dataclass(frozen=True, slots=True, kw_only=True)
class _BatchOfStep:
    """The batch of a step and its random numbers."""

    data: TaskData | AugmentedData
    indices: Indices
    """[B]."""
    share: float
    """Lambda."""
    partners: Indices | None
    """[B], the utterance that is mixed into each one."""
    uniform: NDArray[np.float32]
    """[B, 10], random numbers from 0 to 1: two of modality dropout, and four of the masks of each modality."""
    masks: tuple[float, float]
    """The largest share of frames, and of dimensions, that are zero."""
    dropout: float
    """How probable it is that a modality of an utterance is zero."""
    raters: float
    """How probable it is that a vote of an utterance is left out."""
    votes: NDArray[np.float32] | None
    """[B, 4], random numbers from 0 to 1 that decide of each utterance, and of the one mixed in, whether and which."""

    def mixture(self, rows: Indices) -> Mixture:
        """As `MixtureOf`."""
        batch, partner_labels = self.data.batch(self.indices[rows]), None
        inputs = list(batch.inputs)
        if self.partners is not None:
            other = self.data.batch(self.partners[rows])
            partner_labels = self._votes(other.labels, rows, 2)
            for i in (0, 2):
                inputs[i], inputs[i + 1] = _mixed(inputs[i : i + 2], list(other.inputs[i : i + 2]), self.share)
        uniform = to_device(torch.from_numpy(self.uniform[rows]), batch.labels.device)
        for number in range(len(_MODALITIES)):
            x, lengths = inputs[2 * number], inputs[2 * number + 1]
            if x is not None and lengths is not None:
                self._mask(x, lengths, uniform[:, 2 + 4 * number : 6 + 4 * number])
        audio, audio_lengths, text, text_lengths = inputs
        if self.dropout and audio is not None and text is not None:
            dropped, which = uniform[:, 0] < self.dropout, uniform[:, 1] < 0.5
            _clear(audio, dropped & which)
            _clear(text, dropped & ~which)
        inputs_of = (audio, audio_lengths, text, text_lengths)
        changed = replace(batch, inputs=inputs_of, labels=self._votes(batch.labels, rows, 0))
        return Mixture(batch=changed, partner_labels=partner_labels, share=self.share)

    def _votes(self, labels: Tensor, rows: Indices, first: int) -> Tensor:
        """Votes [b, C] without those that are left out; other labels unchanged."""
        if self.votes is None:
            return labels
        uniform = to_device(torch.from_numpy(self.votes[rows, first : first + 2]), labels.device)
        return without_a_vote(labels, uniform[:, 0] < self.raters, uniform[:, 1])

    def _mask(self, x: Tensor, lengths: Tensor, uniform: Tensor) -> None:
        """Set spans of x [b, T, ..., D] to zero, by random numbers [b, 4]."""
        most_time, most_features = self.masks
        if most_time:
            span = _span(lengths.to(x), most_time, uniform[:, 0], uniform[:, 1], x.shape[1])
            x.masked_fill_(span.reshape(*span.shape, *[1] * (x.dim() - 2)), 0)
        if most_features:
            sizes = torch.full_like(uniform[:, 0], x.shape[-1])
            span = _span(sizes, most_features, uniform[:, 2], uniform[:, 3], x.shape[-1])
            x.masked_fill_(span.reshape(len(x), *[1] * (x.dim() - 2), x.shape[-1]), 0)


def without_a_vote(votes: Tensor, chosen: Tensor, uniform: Tensor) -> Tensor:
    """Votes [b, C] without one random vote where `chosen` [b] is true and two or more are there.

    Args:
        votes: [b, C], not negative.
        chosen: [b].
        uniform: [b], from 0 to 1; a class loses its vote as probably as it has votes.
    """
    total = votes.sum(1)
    reached = votes.cumsum(1) > (uniform * total).unsqueeze(1)
    first = reached & (reached.cumsum(1) == 1)
    leave_out = (chosen & (total >= 2)).unsqueeze(1) & first
    return votes - leave_out * torch.minimum(votes, torch.ones_like(votes))


def _mixed(own: list[Tensor | None], other: list[Tensor | None], share: float) -> tuple[Tensor | None, Tensor | None]:
    """Values [B, T, ...] and lengths [B] of the mixtures of two padded batches."""
    (x, lengths), (y, other_lengths) = own, other
    if x is None or y is None or lengths is None or other_lengths is None:
        return None, None
    time = max(x.shape[1], y.shape[1])
    x, y = (F.pad(z, (0, 0) * (z.dim() - 2) + (0, time - z.shape[1])) for z in (x, y))
    return x.mul_(share).add_(y, alpha=1 - share), torch.maximum(lengths, other_lengths)


def _span(sizes: Tensor, most: float, width: Tensor, start: Tensor, total: int) -> Tensor:
    """[B, total], true in one span of each row: at most `most` of its size [B], by uniform numbers [B]."""
    widths = (width * (most * sizes + 1)).floor()
    starts = (start * (sizes - widths + 1)).floor()
    at = torch.arange(total, device=sizes.device)
    return (at >= starts.unsqueeze(1)) & (at < (starts + widths).unsqueeze(1))


def _clear(x: Tensor, rows: Tensor) -> None:
    """Set the rows of x [B, ...] that are true in `rows` [B] to zero."""
    x.masked_fill_(rows.reshape(-1, *[1] * (x.dim() - 1)), 0)
