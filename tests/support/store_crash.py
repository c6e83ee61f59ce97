"""What the tests of killed writers and power cuts share: stores, things done to them, and what must hold afterwards."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from store_samples import arrays, manifest

from emofuse.common.errors import UsageError
from emofuse.store import FeatureData, FeatureSpec, FeatureStore, FeatureWriter, write_store
from emofuse.store.edit.merge import merge
from emofuse.store.edit.repack import repack
from emofuse.store.edit.rewrite import copy, remove_features, remove_utterances

M = manifest(24)
FIRST, SECOND = arrays(M, dimension=40), arrays(M, dimension=30, seed=1)
SPEC = FeatureSpec(name="second", modality="audio", encoder="hubert", dimension=30, fingerprint={"weights": "1"})
FLUSH = 6
"""Utterances between two flushes."""
GONE = ["u003", "u017"]
Say = Callable[[str], None]


def silent(word: str) -> None:
    """Tell nobody."""


def lengths() -> dict[str, int]:
    return {id: len(a) for id, a in SECOND.items()}


def fill(path: Path, say: Say = silent, stop: int | None = None) -> list[str]:
    """Write the second feature, or its first `stop` utterances, which stay in a part; what was asked for."""
    with FeatureWriter(path, M, SPEC, lengths()) as writer:
        say("opened")
        for n, id in enumerate(writer.pending[:stop]):
            writer.put(id, SECOND[id])
            say(f"put {id}")
            if n % FLUSH == FLUSH - 1:
                writer.flush()
                say("flushed")
        if stop is None:
            say("committing")
            writer.commit()
            say("committed")
        return writer.pending


def first_alone(path: Path) -> None:
    write_store(path, M, {"first": FeatureData(modality="text", arrays=FIRST)})


def both(path: Path) -> None:
    first_alone(path)
    fill(path)


def second_beside(path: Path) -> None:
    first_alone(path)
    fill(path.with_name("other.h5"))


def part_beside(path: Path) -> None:
    first_alone(path)
    fill(path, stop=7)


def merged(path: Path, say: Say = silent) -> None:
    merge(path, [path, path.with_name("other.h5")])


def copied(path: Path, say: Say = silent) -> None:
    with FeatureStore(path) as store:
        copy(store, path.with_name("copy.h5"), dtype="float32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """Something that is done to a store, and what the store may hold before and after."""

    prepare: Callable[[Path], None]
    run: Callable[..., None]
    before: Collection[str]
    after: Collection[str]
    beside: Collection[str] = ()
    """Other files that belong there."""
    gone: Collection[str] = ()
    """Utterances that are no longer there afterwards."""


DEEDS = {
    "new": Deed(prepare=lambda path: None, run=fill, before=(), after=("second",)),
    "second": Deed(prepare=first_alone, run=fill, before=("first",), after=("first", "second")),
    "resumed": Deed(prepare=part_beside, run=fill, before=("first",), after=("first", "second")),
    "merge": Deed(
        prepare=second_beside, run=merged, before=("first",), after=("first", "second"), beside=("other.h5",)
    ),
    "rm": Deed(
        prepare=both,
        run=lambda path, say=silent: remove_features(path, ["second"]),
        before=("first", "second"),
        after=("first",),
    ),
    "repack": Deed(
        prepare=both,
        run=lambda path, say=silent: repack(path),
        before=("first", "second"),
        after=("first", "second"),
    ),
    "copy": Deed(prepare=both, run=copied, before=("first", "second"), after=("first", "second"), beside=("copy.h5",)),
    "withdraw": Deed(
        prepare=part_beside,
        run=lambda path, say=silent: remove_utterances(path, GONE),
        before=("first",),
        after=("first",),
        gone=GONE,
    ),
}
LITTER = {f"{name}{end}" for name in ("s.h5", "copy.h5") for end in (".lock", ".new")} | {
    f"s.h5.second.part{end}" for end in ("", ".lock", ".new")
}
"""What an interrupted deed may leave, and the next run takes up or takes away."""
WRITING = ("new", "second", "resumed")


def held(path: Path) -> tuple[set[str], set[str]]:
    """Features and utterances of a store; each is compared with what was written into it, by its marks and by value."""
    with FeatureStore(path) as store:
        assert not store.damaged_features
        for name, feature in store.features.items():
            assert feature.complete
            assert feature.damaged() == []
            given = FIRST if name == "first" else SECOND
            want = np.concatenate([given[id] for id in feature.ids]).astype("f2")
            np.testing.assert_array_equal(feature.read(feature.ids).values, want)
            assert feature.ids == store.manifest.ids
        rows = {u.id: u for u in M.utterances}
        assert all(u == rows[u.id] for u in store.manifest.utterances)
        return set(store.features), set(store.manifest.ids)


def check(folder: Path, deed: Deed, kept: Collection[str], finished: bool) -> None:
    """What must hold after an accident, and that the same deed then ends as if nothing had happened.

    Args:
        folder: Where the accident was.
        deed: What was under way.
        kept: Utterances of the second feature that must not be asked for again.
        finished: Whether the deed had returned.
    """
    path, everybody = folder / "s.h5", set(M.ids)
    left = {p.name for p in folder.iterdir()}
    assert left <= LITTER | {"s.h5", *deed.beside}, left
    without = everybody - set(deed.gone)
    now: tuple[set[str], set[str]] = (set(), everybody)
    if path.exists():
        now = held(path)
    elif "copy.h5" not in deed.beside:
        assert not deed.before
    allowed = [(set(deed.after), without)] if finished else [(set(deed.before), everybody), (set(deed.after), without)]
    assert now in allowed
    if deed.run is fill:
        again = set(fill(path)) & set(kept)
        assert not again, f"written again: {sorted(again)}"
    elif deed.run is copied:
        if (folder / "copy.h5").exists():
            with FeatureStore(folder / "copy.h5") as copied_store:
                assert all(f.complete and not f.damaged() for f in copied_store.features.values())
                assert set(copied_store.features) == set(deed.after)
            (folder / "copy.h5").unlink()
        copied(path)
    elif now != allowed[-1] or deed.gone:
        _again(path, deed)
    if any((folder / f"s.h5.{end}").exists() for end in ("lock", "new")):
        repack(path)
    assert held(path) == (set(deed.after), without)
    if not deed.gone:
        assert {p.name for p in folder.iterdir()} == {"s.h5", *deed.beside}
        return
    for file in folder.iterdir():
        assert not any(f"Sätze {int(id[1:])} “".encode() in file.read_bytes() for id in deed.gone), file.name


def _again(path: Path, deed: Deed) -> None:
    try:
        deed.run(path)
    except UsageError as error:
        if "no utterance" not in str(error) or not deed.gone:
            raise
