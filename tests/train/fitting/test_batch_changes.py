"""Mixup, masks and modality dropout: what a training step gets, and that micro-batches and repeats get the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from emofuse.train.data.batches import TaskData
from emofuse.train.data.ragged import RaggedModality
from emofuse.train.fitting.batch_changes import BatchChanges, Mixture
from emofuse.train.models.config import SequenceConfig

N = 200


def modality(dimension: int) -> RaggedModality:
    lengths = torch.arange(N) % 7 + 4
    values = torch.rand(int(lengths.sum()), dimension, generator=torch.Generator().manual_seed(dimension)) + 1
    return RaggedModality(values=values, starts=lengths.cumsum(0) - lengths, lengths=lengths)


DATA = TaskData(modalities={"audio": modality(20), "text": modality(30)}, labels=torch.arange(N) % 4, statistics={})
ALL = np.arange(N)


def mixture(rows: Any = ALL, step: int = 1, data: TaskData = DATA, **settings: Any) -> Mixture:
    return BatchChanges(SequenceConfig(**settings), 0).of_step(data, ALL, step)(rows)


def zeros(x: Tensor) -> Tensor:
    """[B, T, D], where true values have become zero; all values are at least 1."""
    plain, _ = DATA.modalities["audio" if x.shape[2] == 20 else "text"].gather(ALL)
    return (x == 0) & (plain != 0)


def test_mixup_mixes_values_lengths_and_labels_with_one_weight() -> None:
    found = mixture(mixup=0.4)
    audio, lengths, text, _ = found.batch.inputs
    assert audio is not None
    assert lengths is not None
    assert text is not None
    assert found.partner_labels is not None
    assert 0 < found.share < 1
    partners = np.random.default_rng([0, 1, 1])
    assert partners.beta(0.4, 0.4) == found.share
    order = partners.permutation(ALL)
    assert torch.equal(found.partner_labels, DATA.labels[torch.from_numpy(order)])
    for x, name in ((audio, "audio"), (text, "text")):
        own, own_lengths = DATA.modalities[name].gather(ALL)
        other, other_lengths = DATA.modalities[name].gather(order)
        torch.testing.assert_close(x, found.share * own + (1 - found.share) * other)
        assert torch.equal(lengths, torch.maximum(own_lengths, other_lengths))
    assert {mixture(mixup=0.4, step=step).share for step in (1, 1)} == {found.share}
    assert mixture(mixup=0.4, step=2).share != found.share


def test_masks_are_one_span_of_time_and_one_of_dimensions_within_the_utterance() -> None:
    audio, lengths, text, _ = mixture(mask_time=0.5).batch.inputs
    assert audio is not None
    assert lengths is not None
    assert text is not None
    for x in (audio, text):
        spans = zeros(x).all(2)
        assert torch.equal(spans, zeros(x).any(2)), "whole frames"
        widths = spans.sum(1)
        assert bool((widths <= lengths * 0.5 + 1).all())
        assert int(widths.max()) > 0
        assert int(widths.min()) == 0
        assert int((spans[:, 1:] & ~spans[:, :-1]).sum(1).max()) <= 1, "one span"
    audio = mixture(mask_features=0.25).batch.inputs[0]
    assert audio is not None
    bands = zeros(audio)[:, :4].all(1)
    assert torch.equal(bands, zeros(audio)[:, :4].any(1))
    assert int(bands.sum(1).max()) == 5


def test_modality_dropout_never_takes_both() -> None:
    audio, _, text, _ = mixture(modality_dropout=0.4).batch.inputs
    assert audio is not None
    assert text is not None
    gone = [(x == 0).all(2).all(1) for x in (audio, text)]
    assert not (gone[0] & gone[1]).any()
    shares = [float(g.float().mean()) for g in gone]
    assert all(abs(share - 0.2) < 0.08 for share in shares), shares


def test_a_micro_batch_is_part_of_the_same_batch() -> None:
    settings = {"mixup": 0.4, "mask_time": 0.5, "mask_features": 0.5, "modality_dropout": 0.4}
    whole, rows = mixture(**settings), ALL[50:70]
    some = mixture(rows, **settings)
    assert some.share == whole.share
    for x, part in zip(whole.batch.inputs, some.batch.inputs, strict=True):
        assert x is not None
        assert part is not None
        assert torch.equal(x[50:70][:, : part.shape[1]] if x.dim() > 1 else x[50:70], part)


def test_the_features_of_the_store_stay_as_they_are() -> None:
    before = DATA.modalities["audio"].values.clone()
    mixture(mixup=0.4, mask_time=0.5, mask_features=0.5, modality_dropout=0.4)
    assert torch.equal(DATA.modalities["audio"].values, before)


def test_one_modality_alone_and_no_changes_at_all() -> None:
    alone = DATA.without("text")
    assert mixture(data=alone, mixup=0.4, mask_time=0.3).batch.inputs[2] is None
    found = mixture(data=alone)
    assert (found.partner_labels, found.share) == (None, 1.0)
