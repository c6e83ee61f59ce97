"""One vector for each utterance: the mean of its frames over time, read in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.common.output.console import plural
from emofuse.report.exploration.measure.collection import Collection, Entry
from emofuse.store import Feature

BATCH_BYTES = 32_000_000
"""Stored values that are read at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """The pooled values of a feature."""

    name: str
    modality: str
    layer: int | None
    """Number of the layer; None means the mean of all, or a feature without layers."""
    layers: tuple[int, ...]
    entries: tuple[Entry, ...]
    """n entries that have usable values."""
    values: NDArray[np.float32]
    """[n, D]"""
    missing: int = 0
    """Entries without values, or with values of other audio or text than the store has now."""
    broken: tuple[str, ...] = ()
    """Ids with values that are not numbers (NaN or infinite)."""

    @property
    def remarks(self) -> list[str]:
        """What was left out, in sentences."""
        found = []
        if self.missing:
            found.append(
                f"feature {self.name}: {plural(self.missing, 'utterance')} left out, without values or with values "
                "that are out of date (the same `extract` command computes them)"
            )
        if self.broken:
            shown = ", ".join(self.broken[:5]) + (", ..." if len(self.broken) > 5 else "")
            found.append(
                f"feature {self.name}: {plural(len(self.broken), 'utterance')} left out, with values that are not "
                f"numbers: {shown}"
            )
        return found


def pooled(collection: Collection, entries: Sequence[Entry], name: str, layer: int | None = None) -> Pooled:
    """The mean over time of a feature, and over layers where it has several and none is chosen.

    Args:
        entries: Those to read; from stores that all have the feature.
        name: Of the feature.
        layer: Number of a layer, as `store info` lists them.

    Raises:
        UsageError: A store has no such feature, or the feature has no such layer.
        DataError: Values are damaged; names the utterances.
    """
    kept: list[Entry] = []
    vectors: list[NDArray[np.float32]] = []
    missing, broken, layers = 0, [], set[tuple[int, ...]]()
    for store in collection.stores:
        feature = store.feature(name)
        column = _layer_column(feature, layer)
        layers.add(feature.layers)
        usable = _usable_ids(feature)
        wanted = [e for e in entries if e.corpus == store.corpus]
        present = [e for e in wanted if e.utterance.id in usable]
        missing += len(wanted) - len(present)
        for entry, vector in zip(present, _means(feature, [e.utterance.id for e in present], column), strict=True):
            if np.isfinite(vector).all():
                kept.append(entry)
                vectors.append(vector)
            else:
                broken.append(entry.id)
    return Pooled(
        name=name, modality=feature.modality, layer=layer, layers=next(iter(layers)), entries=tuple(kept),
        values=_stacked(vectors, name), missing=missing, broken=tuple(broken),
    )  # fmt: skip


def _stacked(vectors: Sequence[NDArray[np.float32]], name: str) -> NDArray[np.float32]:
    if len({len(v) for v in vectors}) > 1:
        raise UsageError(f"feature {name} has different dimensions in these stores: extract it with the same settings")
    return np.stack(vectors) if vectors else np.empty((0, 0), np.float32)


def _layer_column(feature: Feature, layer: int | None) -> int | None:
    """Where a layer is on the layer axis; None means all."""
    if layer is None:
        return None
    if not feature.layers:
        raise UsageError(f"feature {feature.name} of {feature.path} has no layers: leave --layer out")
    if layer not in feature.layers:
        raise UnknownNameError(f"layer of feature {feature.name}", str(layer), map(str, feature.layers))
    return feature.layers.index(layer)


def _usable_ids(feature: Feature) -> set[str]:
    """Ids with values that are written and up to date."""
    written = {id for id, mark in zip(feature.ids, feature.marks().tolist(), strict=True) if mark}
    return written - set(feature.stale)


def _means(feature: Feature, ids: Sequence[str], column: int | None) -> Iterator[NDArray[np.float32]]:
    """The mean [D] of each utterance, in the order of `ids`."""
    for batch in _batches(feature, ids):
        ragged = feature.read(batch)
        for values in np.split(ragged.values, np.cumsum(ragged.lengths)[:-1]):
            yield _mean(values, column)


def _mean(values: NDArray[Any], column: int | None) -> NDArray[np.float32]:
    if values.ndim == 3:
        values = values.mean(1, dtype=np.float32) if column is None else values[:, column]
    mean: NDArray[np.float32] = values.mean(0, dtype=np.float32)
    return mean


def _batches(feature: Feature, ids: Sequence[str]) -> Iterator[list[str]]:
    batch, size = list[str](), 0
    for id in ids:
        bytes_of = int(feature.lengths[feature.position[id]]) * feature.spec.frame_bytes
        if batch and size + bytes_of > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(id)
        size += bytes_of
    if batch:
        yield batch
