"""Power cuts: of what was not synced, any page and any rename may be lost; a modelled disk tries some hundreds."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from shutil import rmtree

import pytest
from store_crash import OPERATIONS, SPEC, WRITING, M, check, fill, lengths
from store_power import Disk

from emofuse.common.errors import EmofuseError
from emofuse.manifests.schema import Excluded
from emofuse.store import FeatureStore, FeatureWriter


@pytest.mark.parametrize(
    "name", [name if name in ("new", "merge") else pytest.param(name, marks=pytest.mark.slow) for name in OPERATIONS]
)
def test_no_power_cut_harms_what_was_complete(name: str, tmp_path: Path) -> None:
    cut_off(name, tmp_path, cuts=15)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_thousand_power_cuts(name: str, tmp_path: Path) -> None:
    cut_off(name, tmp_path, cuts=150)


def cut_off(name: str, tmp_path: Path, cuts: int) -> None:
    operation, rng = OPERATIONS[name], random.Random(f"{name} {cuts}")
    (tmp_path / "disk").mkdir()
    operation.prepare(tmp_path / "disk" / "s.h5")
    disk = Disk(tmp_path / "disk")
    start = len(disk.events)
    with disk.recording():
        operation.run(tmp_path / "disk" / "s.h5", say=disk.note)
        disk.note("done")
    moments = rng.choices(range(start + 1, len(disk.events)), k=cuts)
    seen = Counter[str]()
    for until in [*moments, len(disk.events)]:
        image = tmp_path / "image"
        rmtree(image, ignore_errors=True)
        image.mkdir()
        disk.image(until, rng, image)
        events = disk.notes(until)
        try:
            check(image, operation, flushed(events), finished="done" in events)
        except BaseException as error:
            error.add_note(f"after {until - start} of {len(disk.events) - start} events: {disk.events[until - 1][:3]}")
            raise
        seen[events[-1].split()[0] if events else "started"] += 1
    print(f"\n{name}: {sum(seen.values())} images, {dict(seen)}")
    assert name not in WRITING or seen["put"] + seen["flushed"] >= 4, seen


def flushed(events: list[str]) -> set[str]:
    """What was written before the last flush, and what is in the store after the commit."""
    last = max((i for i, word in enumerate(events) if word in ("flushed", "committed")), default=0)
    return {word.removeprefix("put ") for word in events[:last] if word.startswith("put ")}


def test_a_store_in_a_new_folder_stays_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    disk = Disk(tmp_path / "disk")
    with disk.recording():
        fill(tmp_path / "disk" / "cache" / "deep" / "s.h5")
    for seed in range(10):
        image = tmp_path / f"image{seed}"
        image.mkdir()
        disk.image(len(disk.events), random.Random(seed), image)
        check(image / "cache" / "deep", OPERATIONS["new"], M.ids, finished=True)


def test_an_utterance_that_fails_after_a_power_cut_leaves_nothing(tmp_path: Path) -> None:
    """A mark without values is asked for again; where that fails, the mark does not count."""
    path = tmp_path / "s.h5"
    fill(path, stop=len(M))
    with FeatureWriter(path, M, SPEC, lengths()) as writer:
        feature, part = writer._feature, writer.partial
        at, count = feature.values_offset + int(feature.starts[5]) * 60, int(feature.lengths[5]) * 60
    with part.open("r+b") as file:
        file.seek(at)
        file.write(bytes(count))
    with FeatureWriter(path, M, SPEC, lengths()) as writer:
        assert writer.pending == ["u005"]
        writer.commit([Excluded(id="u005", reason="audio: cut short", modality="audio")])
    with FeatureStore(path) as store:
        assert "u005" in store.manifest.ids
        assert "u005" not in store.feature("second").ids
        assert store.feature("second").damaged() == []


def test_the_model_loses_what_was_not_synced(tmp_path: Path) -> None:
    """A writer that never syncs fails; otherwise the tests above would prove nothing."""
    disk_folder = tmp_path / "disk"
    disk_folder.mkdir()
    OPERATIONS["second"].prepare(disk_folder / "s.h5")
    disk = Disk(disk_folder)
    start = len(disk.events)
    with disk.recording():
        fill(disk_folder / "s.h5")
    disk.events[start:] = [e for e in disk.events[start:] if "sync" not in e[0]]
    failed = 0
    for seed in range(20):
        image = tmp_path / f"image{seed}"
        image.mkdir()
        disk.image(len(disk.events), random.Random(seed), image)
        try:
            check(image, OPERATIONS["second"], (), finished=True)
        except (AssertionError, EmofuseError):
            failed += 1
    assert failed >= 10
