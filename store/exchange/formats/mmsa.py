"""MMSA's pickle: {train, valid, test} -> arrays of all utterances, padded to one length.

As src/MMSA/data_loader.py of the project reads it: `id`, `raw_text`, `audio` and `text` [n, T, D], `audio_lengths`,
`text_bert` [n, 3, T] (tokens, mask, segments), `annotations`, `classification_labels`, `regression_labels`. The file is
read by `unpickle`, which runs none of its code.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import DataError, UsageError
from emofuse.common.output.console import printable
from emofuse.manifests.schema import Utterance
from emofuse.store import Feature
from emofuse.store.exchange.feature_metadata import parse_metadata
from emofuse.store.exchange.formats.unpickle import load
from emofuse.store.exchange.records import ExportJob, FeatureRequest, ForeignSource, Format, FrameStream, Unusable
from emofuse.store.exchange.splits import SPLITS

OFFICIAL_SPLITS = {"valid": "dev", "val": "dev"}
"""MMSA's name of a split -> the manifest's, where they differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddedSplit:
    """One modality of one split of the pickle."""

    ids: list[str]
    values: NDArray[Any]
    """[n, T, D]."""
    lengths: Sequence[int] | None
    """Valid frames of each utterance; None if the file does not state them."""


def _open(path: Path, request: FeatureRequest) -> ForeignSource:
    data = load(path)
    if not isinstance(data, Mapping):
        raise UsageError(f"{path.name} holds a {type(data).__name__}; MMSA's is a dict with train, valid and test")
    stored = {str(k): v for k, v in data.items() if isinstance(v, Mapping) and "id" in v}
    if not stored:
        keys = printable(", ".join(map(str, data)), 200)
        raise UsageError(f"{path.name}: no split with the key 'id'; MMSA's are train, valid and test, this has {keys}")
    splits = {name: _parse_split(name, split, request.modality) for name, split in stored.items()}
    without_lengths = [name for name, split in splits.items() if split.lengths is None]
    if without_lengths and not request.keep_padding:
        raise UsageError(
            f"{path.name}: {', '.join(without_lengths)} without {request.modality}_lengths"
            + (" and without a text_bert to take them from" if request.modality == "text" else "")
            + ", so padding cannot be distinguished from values; add them, or import every frame with --keep-padding"
        )

    def read() -> FrameStream:
        for split in splits.values():
            for i, id in enumerate(split.ids):
                yield id, _without_padding(split.values[i], None if split.lengths is None else int(split.lengths[i]))

    return ForeignSource(
        ids=[id for split in splits.values() for id in split.ids],
        read=read,
        metadata=parse_metadata(data.get("emofuse"), request.name, request.modality),
        utterances=[u for name, split in stored.items() for u in _utterances(name, split, splits[name].ids)],
        has_lengths=not without_lengths,
    )


def _parse_split(name: str, split: Mapping[str, Any], modality: str) -> PaddedSplit:
    """One split, with its array and lengths checked.

    Raises:
        UsageError: Ids or the modality are missing.
        DataError: The numbers of ids, arrays and lengths differ.
    """
    ids = [i.decode("utf-8", "replace") if isinstance(i, bytes) else i for i in split["id"]]
    if not all(isinstance(i, str) for i in ids):
        raise UsageError(f"{name}: 'id' holds {type(ids[0]).__name__}s; expected text for each utterance")
    ids = [str(i) for i in ids]
    values = split.get(modality)
    if not isinstance(values, np.ndarray) or values.ndim != 3:
        shape = values.shape if isinstance(values, np.ndarray) else type(values).__name__
        keys = printable(", ".join(map(str, split)), 200)
        raise UsageError(f"{name}: {modality!r} is {shape}; expected an array [n, T, D]. Its keys are {keys}")
    lengths = _lengths(name, split, modality, values)
    if len(values) != len(ids) or (lengths is not None and len(lengths) != len(ids)):
        raise DataError(
            f"{name}: {len(ids)} ids, {len(values)} arrays of {modality}"
            + (f", {len(lengths)} lengths" if lengths is not None else "")
        )
    return PaddedSplit(ids=ids, values=values, lengths=lengths)


def _lengths(name: str, split: Mapping[str, Any], modality: str, values: NDArray[Any]) -> list[int] | None:
    """Valid frames of each utterance: as stated, or of text from BERT's mask; None where the file does not say."""
    lengths = split.get(f"{modality}_lengths")
    bert = split.get("text_bert")
    if lengths is None and modality == "text" and isinstance(bert, np.ndarray) and bert.ndim == 3:
        mask = bert[:, 1, :] if bert.shape[1:] == (3, values.shape[1]) else None
        lengths = None if mask is None else (mask != 0).sum(axis=1)
    return None if lengths is None else [_whole_number(name, n) for n in np.asarray(lengths).reshape(-1).tolist()]


def _whole_number(name: str, number: Any) -> int:
    if not isinstance(number, int | float) or number != number or number != int(number):
        raise DataError(f"{name}: length {number!r} is not a whole number")
    return int(number)


def _without_padding(padded: NDArray[Any], length: int | None) -> NDArray[Any] | Unusable:
    """The valid frames [T, D]; everything after them must be zero."""
    if length is None:
        return padded
    if not 0 <= length <= len(padded):
        return Unusable(reason=f"its length is {length}, but the array has {len(padded)} frames", damaged=True)
    if padded[length:].any():
        return Unusable(
            reason=f"its length is {length}, but frames after that are not zero: padded at the front, or wrong lengths"
        )
    return padded[:length]


def _utterances(name: str, split: Mapping[str, Any], ids: list[str]) -> list[Utterance]:
    """The utterances as the split describes them; a column of another length is ignored."""

    def column(key: str) -> list[Any]:
        values = split.get(key)
        rows = values.reshape(-1).tolist() if isinstance(values, np.ndarray) else values
        return rows if isinstance(rows, list) and len(rows) == len(ids) else [None] * len(ids)

    official = OFFICIAL_SPLITS.get(name, name)
    return [
        Utterance(
            id=id,
            text=text if isinstance(text, str) and text else None,
            label=label if isinstance(label, str) and label else None,
            split=official if official in ("train", "dev", "test") else None,
            extra={"sentiment": float(score)} if _is_finite(score) else {},
        )
        for id, text, label, score in zip(
            ids, column("raw_text"), column("annotations"), column("regression_labels"), strict=True
        )
    ]


def _is_finite(score: Any) -> bool:
    return isinstance(score, int | float) and math.isfinite(score)


def _write(job: ExportJob, out: Path) -> None:
    by_modality = {f.modality: f for f in job.features}
    if len(by_modality) != len(job.features):
        raise UsageError("mmsa takes one audio and one text feature at most; two of one modality were named")
    if any(u.label is None for u in job.utterances):
        raise UsageError("mmsa needs a label for every utterance, but some have none; export a labelled corpus")
    labels = sorted({u.label or "" for u in job.utterances})
    members = {split: [u for u in job.utterances if job.splits[u.id] == split] for split in SPLITS}
    splits = {split: _annotations(utterances, labels) for split, utterances in members.items()}
    position = {u.id: i for utterances in members.values() for i, u in enumerate(utterances)}
    for modality, feature in by_modality.items():
        _add_padded(job, feature, modality, splits, position)
    with out.open("wb") as file:
        pickle.dump({**splits, "emofuse": dict(job.metadata)}, file, protocol=4)


def _annotations(utterances: Sequence[Utterance], labels: Sequence[str]) -> dict[str, Any]:
    """All keys of a split but its arrays."""
    scores = [u.extra.get("sentiment") for u in utterances]
    return {
        "id": [u.id for u in utterances],
        "raw_text": [u.text or "" for u in utterances],
        "annotations": [u.label for u in utterances],
        "classification_labels": np.array([labels.index(u.label or "") for u in utterances], np.int64),
        # An invented sentiment would be trained on unnoticed (MELD's is a word, not a number); without the key, MMSA's
        # regression fails and names it.
        **({"regression_labels": np.array(scores, np.float32)} if all(map(_is_finite, scores)) else {}),
    }


def _add_padded(
    job: ExportJob, feature: Feature, modality: str, splits: dict[str, dict[str, Any]], position: Mapping[str, int]
) -> None:
    """Add one feature to the splits as arrays [n, T, D], padded to the longest utterance of all, as MMSA expects."""
    lengths = dict(zip((u.id for u in job.utterances), job.lengths(feature), strict=True))
    longest = max(lengths.values())
    for split in splits.values():
        split[modality] = np.zeros((len(split["id"]), longest, feature.dimension), np.float32)
        split[f"{modality}_lengths"] = [lengths[id] for id in split["id"]]
    for u, frames in job.read(feature):
        splits[job.splits[u.id]][modality][position[u.id], : len(frames)] = frames


MMSA = Format(open=_open, write=_write, writes_folder=False, several_features=True, needs_splits=True)
