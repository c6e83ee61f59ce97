"""Folders with one `.npy` per utterance: anybody's, EmoBox's and MERBench's.

EmoBox (examples/sb/speech_feature_extraction.py): `DUMP/KEY.npy`, [T, D], or [L, T, D] with --all_layers. A key is
`CORPUS-ID`; MELD's is `meld-dia0_utt0-train`, and SAVEE's has dashes for underscores.
MERBench (toolkit/utils/read_data.py): `FEATURE-UTT/NAME.npy`, [D], and `FEATURE-FRA/NAME.npy`, [T, D], squeezed on
reading. MELD's dev split is called val there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import complain
from emofuse.store.exchange.arrays import npy_files, read_array, write_array
from emofuse.store.exchange.exporting import Export
from emofuse.store.exchange.feature_metadata import read_side_file, write_side_file
from emofuse.store.exchange.registry import FORMATS, Asked, Bad, ForeignSource, Format, Reading

SAFE = "-_.~+=@, ()[]#"
"""What may stand in a file name beside letters and digits; everything else becomes %XX."""
LONGEST = 255
"""Bytes of a file name."""


def encoded(id: str) -> str:
    """An id as a file name: no slash, no control character, never hidden, never `.` or `..`."""
    name = quote(id, safe=SAFE)
    return f"%2E{name[1:]}" if name.startswith(".") else name


def emobox_key(corpus: str, id: str) -> str:
    """How EmoBox spells an utterance of a corpus."""
    if corpus == "meld" and (m := re.fullmatch(r"(train|dev|test)_(dia\d+_utt\d+)", id)):
        return f"meld-{m[2]}-{m[1]}"
    return f"{corpus}-{id.replace('_', '-') if corpus == 'savee' else id}"


def merbench_key(corpus: str, id: str) -> str:
    """How MERBench spells an utterance of a corpus."""
    return f"val_{id.removeprefix('dev_')}" if corpus == "meld" and id.startswith("dev_dia") else id


def _verbatim(key: str) -> str:
    return key


def _open(
    named: Callable[[str], str], order: Callable[[NDArray[Any]], NDArray[Any] | Bad], path: Path, asked: Asked
) -> ForeignSource:
    files = [(named(stem), file) for stem, file in npy_files(path)]
    said = read_side_file(path, asked.name, asked.modality)

    def read() -> Reading:
        for id, file in files:
            array = read_array(file)
            if not isinstance(array, Bad):
                array = _plain(array) if said.known and order is _plain_or_refused else order(array)
            yield id, array

    return ForeignSource(ids=[id for id, _ in files], read=read, said=said, trimmed=said.known)


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    return array


def _plain_or_refused(array: NDArray[Any]) -> NDArray[Any] | Bad:
    if array.ndim == 3:
        return Bad(why=f"shape {array.shape}: which axis is time is not known; EmoBox's [L, T, D] is --from emobox")
    return array


def _layers_first(array: NDArray[Any]) -> NDArray[Any]:
    return np.moveaxis(array, 0, 1) if array.ndim == 3 else array


def _squeezed(array: NDArray[Any]) -> NDArray[Any] | Bad:
    return _plain_or_refused(array.squeeze(0) if array.ndim == 3 and len(array) == 1 else array)


def _write(spell: Callable[[Export, str], str], order: Callable[[NDArray[Any]], NDArray[Any]], vectors: bool,
           export: Export, out: Path) -> None:  # fmt: skip
    (feature,) = export.features
    names = {u.id: spell(export, u.id) for u in export.utterances}
    complain(
        [
            f"{id!r} gives a file name that is too long, hidden or leads elsewhere"
            for id, name in names.items()
            if any(p.startswith(".") or not p or len(p.encode()) > LONGEST - 4 for p in name.split("/"))
        ],
        "these ids cannot be file names",
    )
    single = vectors and feature.view == "mean" and not feature.layers
    for u, frames in export.read(feature):
        write_array(out / f"{names[u.id]}.npy", frames[0] if single else order(frames))
    write_side_file(out, export.said)


def _spell_npy(export: Export, id: str) -> str:
    return encoded(id)


def _spell_emobox(export: Export, id: str) -> str:
    return emobox_key(export.origin.corpus, id)


def _spell_merbench(export: Export, id: str) -> str:
    return merbench_key(export.origin.corpus, id)


FORMATS.add(
    "npy",
    "A folder, one .npy per utterance; the file's name is the id, with %XX for what a name cannot hold.",
    Format(
        open=partial(_open, unquote, _plain_or_refused), write=partial(_write, _spell_npy, _plain, True), layered=True
    ),
)
FORMATS.add(
    "emobox",
    "EmoBox's dump: CORPUS-ID.npy, [T, D] or [L, T, D].",
    Format(
        open=partial(_open, _verbatim, _layers_first),
        write=partial(_write, _spell_emobox, _layers_first, False),
        key=emobox_key,
        layered=True,
    ),
)
FORMATS.add(
    "merbench",
    "MERBench's FEATURE-UTT or FEATURE-FRA folder: NAME.npy, [D] or [T, D].",
    Format(
        open=partial(_open, _verbatim, _squeezed),
        write=partial(_write, _spell_merbench, _plain, True),
        key=merbench_key,
    ),
)
