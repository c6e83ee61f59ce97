"""Stores to inspect, and the commands that do it."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner, Result
from store_samples import arrays, manifest

from emofuse.manifests.schema import Manifest
from emofuse.store import FeatureData, FeatureSpec, FeatureStore, FeatureWriter, write_store
from emofuse.store.commands.store import store as command

M = manifest()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [*map(str, arguments)])


def lines(result: Result) -> list[list[str]]:
    """The cells of what was printed, row by row."""
    return [re.split(r"\s{2,}", line.strip()) for line in result.stdout.splitlines()]


def two_features(path: Path) -> Path:
    """Twelve utterances; `hubert` of all, `bert` (two layers) of the first ten."""
    text = {id: a for id, a in arrays(M, dimension=4, layers=2, seed=1).items() if id < "u010"}
    audio = FeatureData(modality="audio", arrays=arrays(M), fingerprint={"weights": "abc"}, frame_rate=50.0)
    write_store(path, M, {"hubert": audio, "bert": FeatureData(modality="text", arrays=text, layers=(11, 12))})
    return path


def partial_store(path: Path, name: str, count: int, of: Manifest = M) -> FeatureWriter:
    values = arrays(of)
    spec = FeatureSpec(name=name, modality="audio", encoder=name, dimension=6, frame_rate=50.0)
    writer = FeatureWriter(path, of, spec, {id: len(a) for id, a in values.items()})
    for id in writer.pending[:count]:
        writer.put(id, values[id])
    return writer


def flip(path: Path, feature: str, id: str) -> None:
    """Damage one byte of an utterance's values."""
    with FeatureStore(path) as store:
        f = store.feature(feature)
        at = f.values_offset + int(f.starts[f.position[id]]) * f.spec.frame_bytes
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0xFF]))
