"""A small store, and the commands that export and import it, for the tests of exchange."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import store_samples
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from emofuse.manifests.jsonl import write_manifest
from emofuse.manifests.schema import Manifest
from emofuse.store import FeatureData, FeatureStore, write_store
from emofuse.store.commands.store import store as cli

FITTED = [{"corpus": "tiny", "labels": True, "sessions": ["1"]}]


def manifest(count: int = 12, corpus: str = "tiny") -> Manifest:
    """Utterances with splits and a sentiment, one without a label, text with quotes and umlauts."""
    made = store_samples.manifest(count, corpus=corpus)
    splits = ("train", "train", "dev", "test")
    utterances = tuple(
        replace(u, split=splits[i % 4], extra={**u.extra, "sentiment": i / 4 - 1})
        for i, u in enumerate(made.utterances)
    )
    return replace(made, utterances=utterances)


def make_store(path: Path, of: Manifest | None = None, **features: FeatureData) -> dict[str, NDArray[Any]]:
    """Write a store with an audio feature `hubert` at 50 Hz, unless others are given; returns hubert's frames."""
    of = of or manifest()
    if features:
        write_store(path, of, features)
        return {}
    frames = store_samples.arrays(of)
    default = FeatureData(
        modality="audio",
        arrays=frames,
        encoder="hubert",
        frame_rate=50.0,
        dtype="float32",
        fingerprint={"weights": "abc"},
        provenance={"fitted_on": FITTED},
    )
    write_store(path, of, {"hubert": default})
    return frames


def run(*arguments: object) -> Result:
    """`emofuse store ARGUMENTS`, without a progress bar."""
    return CliRunner().invoke(cli, [*map(str, arguments), "--quiet"])


def check(result: Result, code: int = 0, *expected: str) -> str:
    """Check the exit code and the printed text; returns the whole output."""
    assert result.exit_code == code, (result.exit_code, result.output, result.exception)
    for text in expected:
        assert text in result.output, result.output
    return result.output


def run_import(
    into: Path, form: str, source: Path, *more: object, name: str = "there", modality: str = "audio"
) -> Result:
    """`emofuse store import`."""
    return run("import", into, "--from", form, "--source", source, "--name", name, "--modality", modality, *more)


def run_export(store: Path, form: str, out: Path, *more: object, feature: str = "hubert") -> Result:
    """`emofuse store export`."""
    return run("export", store, "--to", form, "--feature", feature, "--out", out, *more)


def manifest_file(path: Path, of: Manifest | None = None) -> Path:
    """Write a manifest file, and its folder if necessary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_manifest(of or manifest(), path)
    return path


def stored_frames(store: Path, feature: str = "there") -> dict[str, NDArray[Any]]:
    """Utterance id -> frames of a feature."""
    with FeatureStore(store) as opened:
        found = opened.feature(feature)
        return {id: found.read([id]).values for id in found.ids}


def assert_same_frames(found: dict[str, NDArray[Any]], wanted: dict[str, NDArray[Any]]) -> None:
    """Both have the same ids with the same values."""
    assert sorted(found) == sorted(wanted)
    for id, frames in wanted.items():
        np.testing.assert_array_equal(found[id], frames, err_msg=id)
