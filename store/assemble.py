"""Joins finished features into one store file: metadata anew, values copied as raw bytes, one rename."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from emofuse.manifests.schema import Manifest
from emofuse.store.layout import Plan, create
from emofuse.store.reader import Feature, FeatureStore


def publish(path: Path, part: FeatureStore, feature: Feature, manifest: Manifest) -> None:
    """Make a filled part's feature appear in the store at `path`, whole or not at all; readers keep theirs.

    Args:
        path: The store; may not exist yet.
        part: The part, open.
        feature: Its feature, every utterance of `manifest` that it holds written.
        manifest: What the store should know afterwards, together with what it knows already.
    """
    with _only_one(path.parent):
        if (
            not path.exists()
            and manifest.digest() == part.manifest.digest()
            and manifest.excluded == part.manifest.excluded
        ):
            with open(part.path, "r+b") as file:  # noqa: PTH123 - needs a descriptor
                os.pwrite(file.fileno(), b"\x01", feature.complete_offset)
                os.fsync(file.fileno())
            part.path.replace(path)
        else:
            older = FeatureStore(path) if path.exists() else None
            others = [f for f in older.features.values() if f.name != feature.name] if older else []
            merged = manifest.merged_into(older.manifest if older else None)
            assemble(path, merged, [*others, feature])
            if older:
                older.close()
            part.path.unlink()
        part.path.with_name(part.path.name + ".lock").unlink(missing_ok=True)
        _sync_folder(path.parent)


def assemble(path: Path, manifest: Manifest, features: Sequence[Feature]) -> None:
    """Write a store that holds `manifest` and, of each feature, the written utterances that `manifest` knows."""
    row_of = {id: row for row, id in enumerate(manifest.ids)}
    plans, orders = [], []
    for feature in features:
        ids, marks, sources = feature.ids, feature.marks(), feature.sources
        held = [i for i, id in enumerate(ids) if id in row_of and marks[i]]
        order = sorted(held, key=[row_of.get(id, -1) for id in ids].__getitem__)
        plans.append(
            Plan(
                spec=feature.spec,
                rows=np.array([row_of[ids[i]] for i in order], np.int64),
                lengths=feature.lengths[order],
                sources=[sources[i] for i in order],
            )
        )
        orders.append(order)
    fresh = path.with_name(path.name + ".new")
    try:
        create(fresh, manifest, plans, complete=True)
        with FeatureStore(fresh) as store, open(fresh, "r+b") as file:  # noqa: PTH123 - needs a descriptor
            for feature, order in zip(features, orders, strict=True):
                target = store.features[feature.name]
                os.pwrite(file.fileno(), feature.marks()[order].tobytes(), target.mark_offset)
                _copy_values(feature, order, target, file.fileno())
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def _copy_values(source: Feature, order: Sequence[int], target: Feature, descriptor: int) -> None:
    """Copy utterances in `order`; neighbours that stay neighbours go in one piece."""
    width, to = source.spec.frame_bytes, target.values_offset
    for first, frames in _runs(source, order):
        count = frames * width
        with open(source.path, "rb") as file:  # noqa: PTH123 - needs a descriptor
            _copy(file.fileno(), source.values_offset + first * width, descriptor, to, count)
        to += count


def _runs(feature: Feature, order: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first frame, frames) of each run that is contiguous in `feature`."""
    first = frames = 0
    for i in order:
        start, length = int(feature.starts[i]), int(feature.lengths[i])
        if frames and start == first + frames:
            frames += length
        else:
            if frames:
                yield first, frames
            first, frames = start, length
    if frames:
        yield first, frames


def _copy(source: int, start: int, target: int, to: int, count: int) -> None:
    """Copy bytes inside the kernel where it can (some file systems then share them), else through a buffer."""
    done = 0
    while done < count:
        step = min(count - done, 1 << 26)
        try:
            moved = os.copy_file_range(source, target, step, start + done, to + done)
        except (AttributeError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in (
                errno.EXDEV,
                errno.EINVAL,
                errno.ENOSYS,
                errno.EOPNOTSUPP,
            ):
                raise
            moved = os.pwrite(target, os.pread(source, step, start + done), to + done)
        if not moved:
            raise OSError(errno.EIO, "the file ended while it was copied")
        done += moved


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """One process at a time replaces files in `folder`; the system frees the lock of a process that died."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
