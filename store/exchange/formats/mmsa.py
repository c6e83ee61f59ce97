"""MMSA's pickle: {train, valid, test} -> arrays of all utterances, padded to one length.

As src/MMSA/data_loader.py of the project reads it: `id`, `raw_text`, `audio` and `text` [n, T, D], `audio_lengths`,
`text_bert` [n, 3, T] (tokens, mask, segments), `annotations`, `classification_labels`, `regression_labels`. The file is
read by `unpickle`, which runs nothing.
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

from emofuse.common.console import printable
from emofuse.common.errors import DataError, UsageError
from emofuse.manifests.schema import Utterance
from emofuse.store import Feature
from emofuse.store.exchange.exporting import Export
from emofuse.store.exchange.feature_metadata import parse
from emofuse.store.exchange.formats.unpickle import load
from emofuse.store.exchange.registry import FORMATS, Asked, Bad, ForeignSource, Format, Reading
from emofuse.store.exchange.splits import SIDES

SPLITS = {"valid": "dev", "val": "dev"}
"""MMSA's word -> the manifest's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of the pickle."""

    ids: list[str]
    values: NDArray[Any]
    """[n, T, D]."""
    lengths: Sequence[int] | None
    """Valid frames of each utterance; none: the file does not say."""


def _open(path: Path, asked: Asked) -> ForeignSource:
    data = load(path)
    if not isinstance(data, Mapping):
        raise UsageError(f"{path.name} holds a {type(data).__name__}; MMSA's is a dict with train, valid and test")
    found = {str(k): v for k, v in data.items() if isinstance(v, Mapping) and "id" in v}
    if not found:
        keys = printable(", ".join(map(str, data)), 200)
        raise UsageError(f"{path.name}: no side with the key 'id'; MMSA's are train, valid and test, this has {keys}")
    sides = {name: _side(name, side, asked.modality) for name, side in found.items()}
    unsaid = [name for name, side in sides.items() if side.lengths is None]
    if unsaid and not asked.keep_padding:
        raise UsageError(
            f"{path.name}: {', '.join(unsaid)} lack {asked.modality}_lengths"
            + (" and a text_bert to take them from" if asked.modality == "text" else "")
            + ", so padding cannot be told from values; add them, or take every frame with --keep-padding"
        )

    def read() -> Reading:
        for side in sides.values():
            for i, id in enumerate(side.ids):
                yield id, _cut(side.values[i], None if side.lengths is None else int(side.lengths[i]))

    return ForeignSource(
        ids=[id for side in sides.values() for id in side.ids],
        read=read,
        said=parse(data.get("emofuse"), asked.name, asked.modality),
        utterances=[u for name, side in found.items() for u in _utterances(name, side, sides[name].ids)],
        trimmed=not unsaid,
    )


def _side(name: str, side: Mapping[str, Any], modality: str) -> Side:
    """One side, with its array and lengths checked.

    Raises:
        UsageError: It lacks ids or the modality.
        DataError: Their lengths differ.
    """
    ids = [i.decode("utf-8", "replace") if isinstance(i, bytes) else i for i in side["id"]]
    if not all(isinstance(i, str) for i in ids):
        raise UsageError(f"{name}: 'id' holds {type(ids[0]).__name__}s; a text for each utterance is needed")
    ids = [str(i) for i in ids]
    values = side.get(modality)
    if not isinstance(values, np.ndarray) or values.ndim != 3:
        shape = values.shape if isinstance(values, np.ndarray) else type(values).__name__
        raise UsageError(f"{name}: {modality!r} is {shape}; an array [n, T, D] is needed. It has: "
                         f"{printable(', '.join(map(str, side)), 200)}")  # fmt: skip
    lengths = side.get(f"{modality}_lengths")
    bert = side.get("text_bert")
    if lengths is None and modality == "text" and isinstance(bert, np.ndarray) and bert.ndim == 3:
        mask = bert[:, 1, :] if bert.shape[1:] == (3, values.shape[1]) else None
        lengths = None if mask is None else (mask != 0).sum(axis=1)
    if lengths is not None:
        lengths = [_whole(name, n) for n in np.asarray(lengths).reshape(-1).tolist()]
    if len(values) != len(ids) or (lengths is not None and len(lengths) != len(ids)):
        raise DataError(
            f"{name}: {len(ids)} ids, {len(values)} arrays of {modality}"
            + (f", {len(lengths)} lengths" if lengths is not None else "")
        )
    return Side(ids=ids, values=values, lengths=lengths)


def _whole(name: str, number: Any) -> int:
    if not isinstance(number, int | float) or number != number or number != int(number):
        raise DataError(f"{name}: length {number!r} is no whole number")
    return int(number)


def _cut(padded: NDArray[Any], length: int | None) -> NDArray[Any] | Bad:
    """The valid frames; what was cut off must have been padding."""
    if length is None:
        return padded
    if not 0 <= length <= len(padded):
        return Bad(why=f"its length is {length}, but the array has {len(padded)} frames", damaged=True)
    if padded[length:].any():
        return Bad(
            why=f"its length is {length}, but frames after that are not zero: padded at the front, or wrong lengths"
        )
    return padded[:length]


def _utterances(name: str, side: Mapping[str, Any], ids: list[str]) -> list[Utterance]:
    """What the side says of its utterances; a column of another length says nothing."""

    def column(key: str) -> list[Any]:
        values = side.get(key)
        rows = values.reshape(-1).tolist() if isinstance(values, np.ndarray) else values
        return rows if isinstance(rows, list) and len(rows) == len(ids) else [None] * len(ids)

    split = SPLITS.get(name, name)
    return [
        Utterance(
            id=id,
            text=text if isinstance(text, str) and text else None,
            label=label if isinstance(label, str) and label else None,
            split=split if split in ("train", "dev", "test") else None,
            extra={"sentiment": float(score)} if _number(score) else {},
        )
        for id, text, label, score in zip(
            ids, column("raw_text"), column("annotations"), column("regression_labels"), strict=True
        )
    ]


def _number(score: Any) -> bool:
    return isinstance(score, int | float) and math.isfinite(score)


def _write(export: Export, out: Path) -> None:
    by_modality = {f.modality: f for f in export.features}
    if len(by_modality) != len(export.features):
        raise UsageError("mmsa takes one audio and one text feature at most; two of one modality were named")
    labels = sorted({u.label for u in export.utterances if u.label is not None})
    if any(u.label is None for u in export.utterances):
        raise UsageError("mmsa needs a label for every utterance, but some have none; export a corpus that is labelled")
    sides: dict[str, dict[str, Any]] = {}
    for side in SIDES:
        members = [u for u in export.utterances if export.sides[u.id] == side]
        scores = [u.extra.get("sentiment") for u in members]
        sides[side] = {
            "id": [u.id for u in members],
            "raw_text": [u.text or "" for u in members],
            "annotations": [u.label for u in members],
            "classification_labels": np.array([labels.index(u.label or "") for u in members], np.int64),
            # A made-up sentiment would train silently (MELD's is a word); without it MMSA's regression says what lacks.
            **({"regression_labels": np.array(scores, np.float32)} if all(map(_number, scores)) else {}),
        }
    at = {u.id: i for side in SIDES for i, u in enumerate(u for u in export.utterances if export.sides[u.id] == side)}
    for modality, feature in by_modality.items():
        _fill(export, feature, modality, sides, at)
    with out.open("wb") as file:
        pickle.dump({**sides, "emofuse": dict(export.said)}, file, protocol=4)


def _fill(
    export: Export, feature: Feature, modality: str, sides: dict[str, dict[str, Any]], at: Mapping[str, int]
) -> None:
    """Pad one feature into the arrays of the sides, all to the longest utterance, as MMSA expects."""
    lengths = dict(zip((u.id for u in export.utterances), export.lengths(feature), strict=True))
    longest = max(lengths.values())
    for side in sides.values():
        side[modality] = np.zeros((len(side["id"]), longest, feature.dimension), np.float32)
        side[f"{modality}_lengths"] = [lengths[id] for id in side["id"]]
    for u, frames in export.read(feature):
        sides[export.sides[u.id]][modality][at[u.id], : len(frames)] = frames


FORMATS.add(
    "mmsa",
    "MMSA's pickle with train, valid and test; read without running anything of it.",
    Format(open=_open, write=_write, folder=False, several=True, sides=True),
)
