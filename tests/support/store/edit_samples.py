"""A store of two features, damaged or rewritten by another program, for the tests of commands that change stores."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from store_samples import arrays, manifest

from emofuse.store import FeatureData, FeatureStore, write_store

M = manifest()
AUDIO, TEXT = arrays(M, dimension=40), arrays(M, dimension=8, layers=2, seed=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return two_features(tmp_path / "s.h5")


def two_features(path: Path) -> Path:
    provenance = {"fitted_on": [{"corpus": "meld", "labels": True}]}
    audio = FeatureData(modality="audio", arrays=AUDIO, dtype="float32", frame_rate=50.0, fingerprint={"w": 1})
    text = FeatureData(modality="text", arrays=TEXT, layers=(3, 4), provenance=provenance)
    write_store(path, M, {"hubert": audio, "bert": text})
    return path


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "emofuse.common.umbrella", "store", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


def values(path: Path, name: str) -> np.ndarray:
    with FeatureStore(path) as store:
        feature = store.feature(name)
        return feature.read(feature.ids).values


def damage(path: Path, feature: str, id: str) -> None:
    with FeatureStore(path) as store:
        held = store.feature(feature)
        offset = held.values_offset + int(held.starts[held.position[id]]) * held.spec.frame_bytes
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x41]))


def foreign_copy(path: Path, foreign: Path) -> Path:
    with h5py.File(path) as old, h5py.File(foreign, "w") as new:
        for name, value in old.attrs.items():
            new.attrs[name] = value
        compressed(old, new)
    return foreign


def compressed(old: h5py.Group, new: h5py.Group, everything: bool = False) -> None:
    for name, node in old.items():
        if isinstance(node, h5py.Group):
            made = new.create_group(name)
            for key, value in node.attrs.items():
                made.attrs[key] = value
            compressed(node, made, everything)
        else:
            small = name.startswith("values") or name == "row" or (everything and node.size > 0)
            new.create_dataset(name, data=node[()], **({"compression": "gzip", "chunks": True} if small else {}))
