"""The triplet loss against values by hand, and which triplets are mined."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emofuse.extract.pretrain.triplets import distances, mine, proximity, triplet_loss


def test_distances_are_of_vectors_of_length_1() -> None:
    squared = distances(torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0], [5.0, 0.0]]))
    np.testing.assert_allclose(squared, [[0, 2, 4, 0], [2, 0, 2, 2], [4, 2, 0, 4], [0, 2, 4, 0]], atol=1e-6)


def test_near_is_at_most_tau_apart_in_one_recording() -> None:
    near = proximity(torch.tensor([0, 0, 0, 1]), torch.tensor([0.0, 10.0, 10.5, 0.0]), 10.0)
    assert near.int().tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]]


def at(*degrees: float) -> torch.Tensor:
    """Vectors of length 2 at angles."""
    return 2 * torch.stack([torch.tensor([np.cos(d), np.sin(d)]) for d in np.radians(degrees)]).float()


def squared(degrees: float) -> float:
    """Between two vectors of length 1 with that angle between them."""
    return 2 - 2 * float(np.cos(np.radians(degrees)))


def test_the_loss_is_the_hinge_of_the_slides_with_its_sign_corrected() -> None:
    # Patches 0 and 1 are of one recording, 2 and 3 of another.
    near = torch.block_diag(torch.ones(2, 2), torch.ones(2, 2)).bool()
    delta = 0.2
    loss, active = triplet_loss(at(0, 20, 25, 70), near, delta)
    # anchor, positive -> nearest negative farther than the positive, else the farthest
    by_hand = [
        squared(20) - squared(25) + delta,  # 0, 1 -> 2
        squared(20) - squared(50) + delta,  # 1, 0 -> 3: 2 is nearer than the positive
        squared(45) - squared(25) + delta,  # 2, 3 -> none is farther than 45: the farthest, 0
        squared(45) - squared(50) + delta,  # 3, 2 -> 1
    ]
    hinged = [max(0.0, value) for value in by_hand]
    assert float(loss) == pytest.approx(sum(hinged) / 4, abs=1e-6)
    assert float(active) == pytest.approx(sum(value > 0 for value in by_hand) / 4)
    assert 0 < float(active) < 1


def test_what_is_already_apart_by_the_margin_costs_nothing() -> None:
    near = torch.block_diag(torch.ones(2, 2), torch.ones(2, 2)).bool()
    loss, active = triplet_loss(at(0, 1, 179, 180), near, 0.2)
    assert (loss.item(), active.item()) == (0.0, 0.0)


def test_a_batch_without_negatives_has_no_triplets() -> None:
    embeddings = at(0, 20, 40).requires_grad_()
    loss, active = triplet_loss(embeddings, torch.ones(3, 3).bool(), 0.2)
    loss.backward()
    assert (loss.item(), active.item()) == (0.0, 0.0)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 24), st.integers(1, 5), st.floats(0.5, 20))
def test_mined_triplets_are_valid_and_semi_hard(seed: int, count: int, recordings: int, tau: float) -> None:
    generator = np.random.default_rng(seed)
    owners = torch.from_numpy(generator.integers(0, recordings, count))
    seconds = torch.from_numpy(generator.uniform(0, 30, count))
    values = distances(torch.from_numpy(generator.normal(size=(count, 3))))
    anchors, positives, negatives = mine(values, proximity(owners, seconds, tau))
    found = set()
    for i, j, k in zip(anchors.tolist(), positives.tolist(), negatives.tolist(), strict=True):
        found.add((i, j))
        gap = {n: abs(float(seconds[i] - seconds[n])) for n in (j, k)}
        assert i != j
        assert owners[i] == owners[j]
        assert gap[j] <= tau
        # The slides' condition: |i - j| <= |i - k| where both are of one recording.
        assert owners[k] != owners[i] or gap[k] > tau >= gap[j]
        valid = [n for n in range(count) if owners[n] != owners[i] or abs(float(seconds[i] - seconds[n])) > tau]
        farther = [n for n in valid if values[i, n] > values[i, j]]
        best = min(farther, key=lambda n: values[i, n]) if farther else max(valid, key=lambda n: values[i, n])
        assert values[i, k] == values[i, best]
    every = {
        (i, j)
        for i in range(count)
        for j in range(count)
        if i != j and owners[i] == owners[j] and abs(float(seconds[i] - seconds[j])) <= tau
    }
    alone = {i for i in range(count) if all(owners[n] == owners[i] for n in range(count))}
    assert {pair for pair in every if pair[0] not in alone} <= found <= every
