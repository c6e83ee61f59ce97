"""Batches follow from lengths and budget alone, and have hardly any padding."""

from __future__ import annotations

import csv
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from emofuse.extract.plan.batching import distribute, padded_size, padding_share, plan_batches

SIZES = st.dictionaries(st.text(min_size=1, max_size=4), st.integers(1, 500), max_size=60)


@given(SIZES, st.integers(1, 2000))
def test_every_utterance_once_within_the_budget(sizes: dict[str, int], budget: int) -> None:
    batches = plan_batches(sizes, budget, max_utterances=8)
    assert sorted(id for batch in batches for id in batch) == sorted(sizes)
    for batch in batches:
        assert len(batch) <= 8
        assert len(batch) == 1 or padded_size(sizes, batch) <= budget
        assert padding_share({id: sizes[id] for id in batch}, [batch]) <= 0.05 + 1e-9


def test_the_plan_does_not_depend_on_the_order_of_the_corpus() -> None:
    sizes = {f"u{i}": i % 7 + 1 for i in range(50)}
    assert plan_batches(sizes, 20) == plan_batches(dict(reversed(sizes.items())), 20)


def test_hardly_any_padding_on_the_real_durations(shared: Path) -> None:
    with (shared / "data" / "iemocap" / "utterances.csv").open(newline="") as file:
        sizes = {row["id"]: round(float(row["seconds"]) * 1000) for row in csv.DictReader(file)}
    for budget in (60_000, 600_000):
        assert padding_share(sizes, plan_batches(sizes, budget)) < 0.05
    few = dict(list(sizes.items())[::100])
    assert padding_share(few, plan_batches(few, 600_000)) < 0.05


@given(sizes=SIZES, workers=st.integers(1, 9))
def test_batches_are_distributed_whole_and_balanced(sizes: dict[str, int], workers: int) -> None:
    batches = plan_batches(sizes, 300)
    distributed = distribute(batches, sizes, workers)
    assert sorted(b for share in distributed for b in share) == sorted(batches)
    loads = [sum(padded_size(sizes, batch) for batch in share) for share in distributed]
    assert max(loads) - min(loads) <= max((padded_size(sizes, batch) for batch in batches), default=0)
    assert distributed == distribute(batches, sizes, workers)
