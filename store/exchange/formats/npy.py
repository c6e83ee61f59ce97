"""Folders with one `.npy` file per utterance: in general, and as EmoBox and MERBench lay them out.

EmoBox (examples/sb/speech_feature_extraction.py): `DUMP/KEY.npy`, [T, D], or [L, T, D] with --all_layers. A key is
`CORPUS-ID` (manifests/names/emobox_keys.py).
MERBench (toolkit/utils/read_data.py): `FEATURE-UTT/NAME.npy`, [D], and `FEATURE-FRA/NAME.npy`, [T, D], squeezed on
reading. MELD's dev split is called val there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from emofuse.manifests.names.emobox_keys import emobox_key
from emofuse.store.exchange.arrays import id_as_file_name, npy_files, read_array, refuse_as_file_names, write_array
from emofuse.store.exchange.feature_metadata import read_side_file, write_side_file
from emofuse.store.exchange.records import ExportJob, FeatureRequest, ForeignSource, Format, FrameStream, Unusable


def merbench_key(corpus: str, id: str) -> str:
    """How MERBench spells an utterance of a corpus."""
    return f"val_{id.removeprefix('dev_')}" if corpus == "meld" and id.startswith("dev_dia") else id


def _file_name_key(corpus: str, id: str) -> str:
    return id_as_file_name(id)


def _as_it_is(array: NDArray[Any]) -> NDArray[Any]:
    return array


def _layers_second(array: NDArray[Any]) -> NDArray[Any]:
    """[L, T, D] -> [T, L, D], and back."""
    return np.moveaxis(array, 0, 1) if array.ndim == 3 else array


def _without_layers(array: NDArray[Any]) -> NDArray[Any] | Unusable:
    if array.ndim == 3:
        return Unusable(
            reason=f"shape {array.shape}: which axis is time is not known; EmoBox's [L, T, D] is --from emobox"
        )
    return array


def _squeezed(array: NDArray[Any]) -> NDArray[Any] | Unusable:
    """[1, T, D] -> [T, D]."""
    return _without_layers(array.squeeze(0) if array.ndim == 3 and len(array) == 1 else array)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """How a folder is read."""

    id_of: Callable[[str], str]
    """File path without suffix -> id."""
    arrange: Callable[[NDArray[Any]], NDArray[Any] | Unusable]
    """The array of a file -> frames [T, D] or [T, L, D], or a vector [D]."""
    own_layers: bool = False
    """Whether emofuse exports layers as [T, L, D], which its own import then needs no help with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writing:
    """How a folder is written."""

    key: Callable[[str, str], str]
    """(corpus, id) -> file path without suffix."""
    arrange: Callable[[NDArray[Any]], NDArray[Any]]
    """Frames [T, D] or [T, L, D] -> the array of a file."""
    vectors: bool
    """Whether a mean over frames is written as [D] rather than [1, D]."""


def _open(how: _Reading, path: Path, request: FeatureRequest) -> ForeignSource:
    files = [(how.id_of(stem), file) for stem, file in npy_files(path)]
    metadata = read_side_file(path, request.name, request.modality)
    arrange = _as_it_is if metadata.by_emofuse and how.own_layers else how.arrange

    def read() -> FrameStream:
        for id, file in files:
            array = read_array(file)
            yield id, array if isinstance(array, Unusable) else arrange(array)

    return ForeignSource(ids=[id for id, _ in files], read=read, metadata=metadata, has_lengths=metadata.by_emofuse)


def _write(how: _Writing, job: ExportJob, out: Path) -> None:
    (feature,) = job.features
    names = {u.id: how.key(job.origin.corpus, u.id) for u in job.utterances}
    refuse_as_file_names(names)
    single = how.vectors and feature.view == "mean" and not feature.layers
    for u, frames in job.read(feature):
        write_array(out / f"{names[u.id]}.npy", frames[0] if single else how.arrange(frames))
    write_side_file(out, job.metadata)


NPY = Format(
    open=partial(_open, _Reading(id_of=unquote, arrange=_without_layers, own_layers=True)),
    write=partial(_write, _Writing(key=_file_name_key, arrange=_as_it_is, vectors=True)),
    takes_layers=True,
)
EMOBOX = Format(
    open=partial(_open, _Reading(id_of=str, arrange=_layers_second)),
    write=partial(_write, _Writing(key=emobox_key, arrange=_layers_second, vectors=False)),
    id_key=emobox_key,
    takes_layers=True,
)
MERBENCH = Format(
    open=partial(_open, _Reading(id_of=str, arrange=_squeezed)),
    write=partial(_write, _Writing(key=merbench_key, arrange=_as_it_is, vectors=True)),
    id_key=merbench_key,
)
