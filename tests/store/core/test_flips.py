"""Any byte of a file may change: it is detected, or it changes nothing that a reader gets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from store_samples import arrays, manifest
from store_seen import in_child, read_everything

from emofuse.common.errors import EmofuseError
from emofuse.manifests.schema import Excluded
from emofuse.store import FeatureData, FeatureStore, write_store
from emofuse.store.edit.rewrite import copy

BATCH = 250
"""Flips of one child."""
Flip = tuple[int, int]
"""Offset, and the bits that are turned over."""


def undetected(path: Path, flips: Sequence[Flip]) -> tuple[list[Flip], int]:
    """Flips that gave wrong values without an error, and how many were noticed."""
    truth, wrong, noticed = read_everything(path), [], 0
    data = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for offset, bits in flips:
            os.pwrite(file.fileno(), bytes([data[offset] ^ bits]), offset)
            os.write(2, f"{offset} {bits}\n".encode())
            try:
                found = read_everything(path)
                noticed += found.keys() != truth.keys()
                if any(found[key] != truth[key] for key in found):
                    wrong.append((offset, bits))
            except EmofuseError:
                noticed += 1
            os.pwrite(file.fileno(), data[offset : offset + 1], offset)
    return wrong, noticed


def in_children(path: Path, flips: Sequence[Flip]) -> tuple[list[Flip], int]:
    """`undetected`, batch by batch in a forked child: where HDF5 crashes or hangs, the test names the flip."""
    wrong, noticed = [], 0
    for first in range(0, len(flips), BATCH):
        found = in_child(lambda first=first: undetected(path, flips[first : first + BATCH]), path.with_suffix(".log"))
        wrong += [(a, b) for a, b in found[0]]
        noticed += found[1]
    return wrong, noticed


def payload_begins(path: Path) -> int:
    with FeatureStore(path) as store:
        return min(f.values_offset for f in store.features.values())


@pytest.mark.parametrize("step", [97, pytest.param(1, marks=pytest.mark.slow)])
def test_every_byte_before_the_payload_of_a_tiny_store(step: int, tmp_path: Path) -> None:
    """Every 97th byte in a short run."""
    path, m = tmp_path / "s.h5", manifest(2)
    write_store(path, m, {"hubert": FeatureData(modality="audio", arrays=arrays(m, dimension=2))})
    rng = np.random.default_rng(0)
    end = payload_begins(path)
    flips = [(i, bits) for i in range(0, end, step) for bits in (255, 1 << int(rng.integers(8)))]
    wrong, noticed = in_children(path, flips)
    print(f"\n{len(flips)} flips before the payload: {noticed} noticed, {len(wrong)} undetected")
    assert wrong == []
    assert noticed > len(flips) / 10


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """Three features in fp16, bf16 and int8, with a layer axis, texts, excluded utterances and 220 utterances."""
    path, m = tmp_path / "all.h5", manifest(220)
    lost = (Excluded(id="y", reason="audio: “broken”", modality="audio"), Excluded(id="z", reason="no label"))
    m = replace(m, excluded=(*m.excluded, *lost))
    provenance = {"fitted_on": [{"corpus": "meld", "labels": True}], "machine": "x"}
    whole = {
        "hubert": FeatureData(modality="audio", arrays=arrays(m, dimension=8), frame_rate=50.0, fingerprint={"w": 1}),
        "bert": FeatureData(modality="text", arrays=arrays(m, dimension=4), dtype="bfloat16", provenance=provenance),
        "layers": FeatureData(modality="audio", arrays=arrays(m, dimension=2, layers=3), layers=(1, 2, 3)),
    }
    write_store(path, m, whole)
    return path


@pytest.mark.parametrize("count", [150, pytest.param(2000, marks=pytest.mark.slow)])
def test_two_thousand_random_bytes_of_a_real_store(count: int, real: Path) -> None:
    rng = np.random.default_rng(count)
    size, end = real.stat().st_size, payload_begins(real)
    offsets = [*rng.integers(0, size, count // 2), *rng.integers(0, end, count // 2)]
    wrong, noticed = in_children(real, [(int(o), 1 << int(rng.integers(8))) for o in offsets])
    print(f"\n{count} flips of {size} bytes: {noticed} noticed, {len(wrong)} undetected")
    assert wrong == []
    assert noticed > count / 2


def test_the_scales_of_int8(real: Path) -> None:
    small = real.with_name("int8.h5")
    with FeatureStore(real) as store:
        copy(store, small, ["bert"], dtype="int8")
    rng = np.random.default_rng(2)
    offsets = rng.integers(0, small.stat().st_size, 100)
    wrong, noticed = in_children(small, [(int(o), 1 << int(rng.integers(8))) for o in offsets])
    assert wrong == []
    assert noticed > 50


def test_wrong_values_would_be_noticed(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the marks, flips of the payload go undetected; so the tests above can fail."""
    monkeypatch.setattr("emofuse.store.core.feature.mark_of", lambda raw: 0)
    monkeypatch.setattr("emofuse.store.core.feature.Feature.marks", lambda self: np.zeros(len(self.lengths), np.uint64))
    with FeatureStore(real) as store:
        at = store.feature("bert").values_offset
    wrong, _ = in_children(real, [(at + i, 64) for i in range(10)])
    assert len(wrong) == 10
