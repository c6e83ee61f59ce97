"""A store as a torch dataset, for a lab's own training loop; `fit` itself keeps whole corpora in memory.

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
from emofuse.common.lazy import lazy
from emofuse.common.location import Location
from emofuse.manifests.schema import Utterance
from emofuse.store import Feature, FeatureStore

Item = dict[str, Any]


class UtteranceDataset(Dataset[Item]):
    """Utterances with their features, each read from the file when it is asked for, its checksum verified.

    Forked and spawned workers may share one: what is copied to a spawned one is the path and the ids, and it refuses a
    file that has been put in the place of the one that was opened.

    An item is `{"id": str, "label": str or None, NAME: [T, D] or [T, L, D] float32, ...}`.

    Args:
        store: A path or a URL.
        features: Names of features.
        ids: Which utterances, in this order; none: all that have every feature, in the store's order. Stale ones, whose
            values are of an older audio or text, do not have it.
        transform: Applied to each item's utterance; what it gives is the item's `target` (a class, say).

    Raises:
        UsageError: No such feature, or utterances that lack one of them.
        DataError: The store is damaged; when an item is read, its values are.
    """

    def __init__(
        self,
        store: Location,
        features: Sequence[str],
        ids: Sequence[str] | None = None,
        transform: Callable[[Utterance], Any] | None = None,
    ) -> None:
        self.store = FeatureStore(store)
        self.features = tuple(features)
        held = [_usable(self.store.feature(name)) for name in self.features]
        common = set.intersection(*held) if held else set(self.store.manifest.ids)
        absent = [i for i in ids or () if i not in common]
        if absent:
            raise UsageError(
                f"{store} lacks {', '.join(self.features)}, or has it of an older audio or text, for {len(absent)} of "
                f"the utterances, {absent[0]!r} first"
            )
        self.ids = [i for i in self.store.manifest.ids if i in common] if ids is None else list(ids)
        self.transform = transform

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_utterances"}

    @lazy
    def _utterances(self) -> dict[str, Utterance]:
        return {u.id: u for u in self.store.manifest.utterances}

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Item:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Item]:
        """Several items at once, as a `DataLoader` asks for them: one read of each feature."""
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


def _usable(feature: Feature) -> set[str]:
    """Ids whose values are written, and of the present audio or text."""
    there = feature.marks().astype(bool).tolist()
    return {id for id, written in zip(feature.ids, there, strict=True) if written} - set(feature.stale)


def padded(items: Sequence[Item]) -> Item:
    """One batch: features [B, T, ...] with zeros at the end, `NAME_lengths` [B], and lists of everything else."""
    batch: Item = {}
    for key in items[0]:
        column = [item[key] for item in items]
        if isinstance(column[0], Tensor):
            batch[f"{key}_lengths"] = torch.tensor([len(v) for v in column])
            batch[key] = torch.nn.utils.rnn.pad_sequence(column, batch_first=True)
        else:
            batch[key] = column
    return batch
