"""A store as a torch dataset, for your own training loop; `fit` itself keeps all features in memory.

from torch.utils.data import DataLoader
from emofuse.train.dataset import UtteranceDataset, padded

dataset = UtteranceDataset("cache/iemocap.h5", ["hubert", "bert"])
for batch in DataLoader(dataset, batch_size=32, shuffle=True, num_workers=4, collate_fn=padded):
    batch["hubert"], batch["hubert_lengths"], batch["label"]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from emofuse.common.errors import UsageError
from emofuse.common.lazy import lazy_property
from emofuse.common.location import Location
from emofuse.manifests.schema import Utterance
from emofuse.store import Feature, FeatureStore
from emofuse.store.core.augmented import copy_refusal

Item = dict[str, Any]


class UtteranceDataset(Dataset[Item]):
    """Utterances with their features; each is read from the file on access, and its checksum is verified.

    Works in forked and spawned `DataLoader` workers: a spawned worker receives the path and the ids, and refuses a file
    that has replaced the opened one.

    An item is `{"id": str, "label": str or None, NAME: [T, D] or [T, L, D] float32, ...}`.

    Args:
        store: A path or a URL.
        features: Names of features.
        ids: Which utterances, in this order; None means all that have every feature, in the store's order. A stale
            value, whose audio or text has changed since it was extracted, counts as missing.
        transform: Called with each item's utterance; its result is the item's `target` (the class, for example).

    Raises:
        UsageError: A feature does not exist, or is an augmented copy, or some of `ids` have no value of it.
        DataError: The store is damaged; on access to an item: its values are damaged.
    """

    def __init__(
        self,
        store: Location | str,
        features: Sequence[str],
        ids: Sequence[str] | None = None,
        transform: Callable[[Utterance], Any] | None = None,
    ) -> None:
        self.store = FeatureStore(store)
        self.features = tuple(features)
        for copy in (f for f in map(self.store.feature, self.features) if f.is_copy):
            raise UsageError(copy_refusal(copy) + "; for a loop of your own, read them from the open store")
        usable = [_usable_ids(self.store.feature(name)) for name in self.features]
        common = set.intersection(*usable) if usable else set(self.store.manifest.ids)
        missing = [i for i in ids or () if i not in common]
        if missing:
            raise UsageError(
                f"{store} has no up-to-date {', '.join(self.features)} of {len(missing)} of the utterances, "
                f"{missing[0]!r} first: leave them out of ids, or extract them again"
            )
        self.ids = [i for i in self.store.manifest.ids if i in common] if ids is None else list(ids)
        self.transform = transform

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_utterances"}

    @lazy_property
    def _utterances(self) -> dict[str, Utterance]:
        return {u.id: u for u in self.store.manifest.utterances}

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Item:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Item]:
        """Several items, as a `DataLoader` requests them; reads each feature once."""
        ids = [self.ids[i] for i in indices]
        items: list[Item] = []
        for id in ids:
            utterance = self._utterances[id]
            target = {} if self.transform is None else {"target": self.transform(utterance)}
            items.append({"id": id, "label": utterance.label, **target})
        for name in self.features:
            ragged = self.store.feature(name).read(ids)
            pieces = np.split(ragged.values, np.cumsum(ragged.lengths)[:-1])
            for item, piece in zip(items, pieces, strict=True):
                item[name] = torch.from_numpy(piece.astype(np.float32))
        return items


def _usable_ids(feature: Feature) -> set[str]:
    """The utterances whose values are complete and not stale."""
    complete = feature.marks().astype(bool).tolist()
    return {id for id, written in zip(feature.ids, complete, strict=True) if written} - set(feature.stale)


def padded(items: Sequence[Item]) -> Item:
    """Collate items into a batch: features [B, T, ...] padded with zeros, `NAME_lengths` [B], all else as lists."""
    batch: Item = {}
    for key in items[0]:
        column = [item[key] for item in items]
        if isinstance(column[0], Tensor):
            batch[f"{key}_lengths"] = torch.tensor([len(v) for v in column])
            batch[key] = torch.nn.utils.rnn.pad_sequence(column, batch_first=True)
        else:
            batch[key] = column
    return batch
