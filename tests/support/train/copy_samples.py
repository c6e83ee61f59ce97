"""Augmented copies of the small corpus of stage 2, as `extract --augment` stores them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import train_samples as samples
from numpy.typing import NDArray

from emofuse.manifests.schema import Manifest, Utterance
from emofuse.store import FeatureData, write_store

UTTERANCES = samples.utterances()
Values = Callable[[Utterance, NDArray[np.float32]], NDArray[np.float32]]


def made_by(number: int) -> dict[str, Any]:
    """The fingerprint of a copy."""
    return {"augmentation": {"version": 1, "seed": 0, "copy": number, "transforms": {"noise": {"snr_db": [5.0, 30.0]}}}}


def copy(number: int, values: Values = lambda _, frames: frames, **changes: Any) -> FeatureData:
    """Copy `number` of `logmel`; `values` changes the frames of an utterance."""
    frames: Mapping[str, NDArray[np.float32]] = samples.frames(UTTERANCES, 0, seed=number)
    arrays = {u.id: values(u, frames[u.id]) for u in UTTERANCES}
    given: dict[str, Any] = {"arrays": arrays, "encoder": "logmel-smcn", "fingerprint": made_by(number)}
    return FeatureData(modality="audio", frame_rate=20.0, **(given | changes))


def store(folder: Path, *copies: FeatureData) -> Path:
    """`tiny.h5` with `logmel`, `bert`, `hubert` and these copies of `logmel`, and the protocol's file beside it."""
    samples.protocol_file(folder)
    path = samples.store(folder / "tiny.h5")
    manifest = Manifest(corpus="tiny", reader="tiny-1", utterances=UTTERANCES)
    write_store(path, manifest, {f"logmel@copy{number}": data for number, data in enumerate(copies, 1)})
    return path
