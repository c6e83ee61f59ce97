"""What the tests of killed writers and power cuts share: stores, operations on them, and what must hold afterwards."""

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
WITHDRAWN_IDS = ["u003", "u017"]
Say = Callable[[str], None]


def ignore(line: str) -> None:
    """Report nothing."""


def lengths() -> dict[str, int]:
    return {id: len(a) for id, a in SECOND.items()}


def fill(path: Path, say: Say = ignore, stop: int | None = None) -> list[str]:
    """Write the second feature, or its first `stop` utterances, which stay in a partial store.

    Returns:
        The ids that the writer asked for.
    """
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


def second_in_other_store(path: Path) -> None:
    first_alone(path)
    fill(path.with_name("other.h5"))


def partial_beside(path: Path) -> None:
    first_alone(path)
    fill(path, stop=7)


def merged(path: Path, say: Say = ignore) -> None:
    merge(path, [path, path.with_name("other.h5")])


def copied(path: Path, say: Say = ignore) -> None:
    with FeatureStore(path) as store:
        copy(store, path.with_name("copy.h5"), dtype="float32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operation on a store, and the features that the store may have before and after."""

    prepare: Callable[[Path], None]
    run: Callable[..., None]
    before: Collection[str]
    after: Collection[str]
    beside: Collection[str] = ()
    """Other files that belong there."""
    withdrawn: Collection[str] = ()
    """Utterances that it removes."""


OPERATIONS = {
    "new": Operation(prepare=lambda path: None, run=fill, before=(), after=("second",)),
    "second": Operation(prepare=first_alone, run=fill, before=("first",), after=("first", "second")),
    "resumed": Operation(prepare=partial_beside, run=fill, before=("first",), after=("first", "second")),
    "merge": Operation(
        prepare=second_in_other_store, run=merged, before=("first",), after=("first", "second"), beside=("other.h5",)
    ),
    "rm": Operation(
        prepare=both,
        run=lambda path, say=ignore: remove_features(path, ["second"]),
        before=("first", "second"),
        after=("first",),
    ),
    "repack": Operation(
        prepare=both,
        run=lambda path, say=ignore: repack(path),
        before=("first", "second"),
        after=("first", "second"),
    ),
    "copy": Operation(
        prepare=both, run=copied, before=("first", "second"), after=("first", "second"), beside=("copy.h5",)
    ),
    "withdraw": Operation(
        prepare=partial_beside,
        run=lambda path, say=ignore: remove_utterances(path, WITHDRAWN_IDS),
        before=("first",),
        after=("first",),
        withdrawn=WITHDRAWN_IDS,
    ),
}
LEFTOVERS = {f"{name}{end}" for name in ("s.h5", "copy.h5") for end in (".lock", ".new")} | {
    f"s.h5.second.part{end}" for end in ("", ".lock", ".new")
}
"""What an interrupted operation may leave, and the next run resumes or deletes."""
WRITING = ("new", "second", "resumed")


def read_checked(path: Path) -> tuple[set[str], set[str]]:
    """Features and utterances of a store, whose values are compared with what was written into it."""
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


def check(folder: Path, operation: Operation, kept: Collection[str], finished: bool) -> None:
    """What must hold after an accident, and that the same operation then ends as if nothing had happened.

    Args:
        folder: Where the accident was.
        operation: The interrupted operation.
        kept: Utterances of the second feature that must not be asked for again.
        finished: Whether the operation had returned.
    """
    path, all_ids = folder / "s.h5", set(M.ids)
    left = {p.name for p in folder.iterdir()}
    assert left <= LEFTOVERS | {"s.h5", *operation.beside}, left
    without = all_ids - set(operation.withdrawn)
    now: tuple[set[str], set[str]] = (set(), all_ids)
    if path.exists():
        now = read_checked(path)
    elif "copy.h5" not in operation.beside:
        assert not operation.before
    allowed = (
        [(set(operation.after), without)]
        if finished
        else [(set(operation.before), all_ids), (set(operation.after), without)]
    )
    assert now in allowed
    if operation.run is fill:
        repeated = set(fill(path)) & set(kept)
        assert not repeated, f"written again: {sorted(repeated)}"
    elif operation.run is copied:
        if (folder / "copy.h5").exists():
            with FeatureStore(folder / "copy.h5") as copied_store:
                assert all(f.complete and not f.damaged() for f in copied_store.features.values())
                assert set(copied_store.features) == set(operation.after)
            (folder / "copy.h5").unlink()
        copied(path)
    elif now != allowed[-1] or operation.withdrawn:
        _again(path, operation)
    if any((folder / f"s.h5.{end}").exists() for end in ("lock", "new")):
        repack(path)
    assert read_checked(path) == (set(operation.after), without)
    if not operation.withdrawn:
        assert {p.name for p in folder.iterdir()} == {"s.h5", *operation.beside}
        return
    for file in folder.iterdir():
        assert not any(f"Sätze {int(id[1:])} “".encode() in file.read_bytes() for id in operation.withdrawn), file.name


def _again(path: Path, operation: Operation) -> None:
    try:
        operation.run(path)
    except UsageError as error:
        if "no utterance" not in str(error) or not operation.withdrawn:
            raise
