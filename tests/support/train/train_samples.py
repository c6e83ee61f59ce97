"""A small corpus for the tests of stage 2: audio carries one bit of the class, text the other."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from emofuse.manifests.protocol import Protocol
from emofuse.manifests.protocol_parsing import parse
from emofuse.manifests.schema import Excluded, Manifest, Utterance
from emofuse.store import FeatureData, write_store
from emofuse.train.api import fit
from emofuse.train.resolve.config import FitConfig

# Tensors of these sizes gain nothing from a second thread, and it slows parallel tests down.
torch.set_num_threads(1)

# Small values of the sizes that an architecture may have.
SMALL = {"hidden": 8, "width": 8, "heads": 2, "feedforward": 16, "units": 8, "tokens": 3, "rank": 3, "ratio": 2}
QUICK = ("lr=0.01", "hidden=8", "batch=16")
CLASSES = ("ang", "hap", "neu", "sad")
RUN_FILES = {
    "config.json",
    "metrics.json",
    "predictions.csv",
    "utterances.csv",
    "history.csv",
    "digests.json",
}
REPORT_FILES = {"report.html", "confusion.png"}
TOML = """\
corpus = "tiny"
source = "made for the tests"
classes = ["ang", "hap", "neu", "sad"]
metrics = ["ua", "wa", "wf1"]

[folds]
by = "session"
disjoint = ["session", "speaker", "dialogue"]
"""


def shrunk(config: Any, **changes: Any) -> Any:
    """A model's config with small sizes."""
    sizes = {f.name: SMALL[f.name] for f in fields(config) if f.name in SMALL}
    return replace(config, **(sizes | changes))


def protocol(**changes: Any) -> Protocol:
    """The protocol of the small corpus; `changes` replace keys of its TOML."""
    raw: dict[str, Any] = {
        "corpus": "tiny",
        "source": "made for the tests",
        "classes": list(CLASSES),
        "metrics": ["ua", "wa", "wf1"],
        "folds": {"by": "session", "disjoint": ["session", "speaker", "dialogue"]},
    }
    return parse("tiny4", raw | changes)


def utterances(per_session: int = 16, sessions: int = 4) -> tuple[Utterance, ...]:
    """Utterances with alternating classes; two speakers and four dialogues per session."""
    return tuple(
        Utterance(
            id=f"s{s}_u{i:03d}",
            audio=f"s{s}/u{i:03d}.wav",
            text=f"words {i}",
            label=CLASSES[i % 4],
            session=str(s),
            speaker=f"{s}{'FM'[(i // 4) % 2]}",
            dialogue=f"s{s}_d{i * 4 // per_session}",
        )
        for s in range(1, sessions + 1)
        for i in range(per_session)
    )


def frames(of: tuple[Utterance, ...], bit: int, dimension: int = 6, layers: int = 0, seed: int = 0) -> dict[str, Any]:
    """Noise of 3 to 12 frames per utterance, plus one bit of its class along one direction (in layer 1, if layered)."""
    found = {}
    for n, utterance in enumerate(of):
        rng = np.random.default_rng([seed, bit, n])
        shape = (int(rng.integers(3, 13)), *((layers,) if layers else ()), dimension)
        values = 0.5 * rng.standard_normal(shape)
        sign = 1 if CLASSES.index(str(utterance.label)) >> bit & 1 else -1
        values[..., *([1] if layers else []), 0] += 1.5 * sign
        found[utterance.id] = values.astype(np.float32)
    return found


def store(
    path: Path,
    of: tuple[Utterance, ...] | None = None,
    corpus: str = "tiny",
    features: Mapping[str, FeatureData] | None = None,
    excluded: tuple[Excluded, ...] = (),
) -> Path:
    """A store at `path`; by default with features `logmel` (audio), `bert` (text) and `hubert` (audio, 3 layers)."""
    if of is None and features is None and corpus == "tiny" and not excluded:
        path.write_bytes(_default_store())
        return path
    of = utterances() if of is None else of
    if features is None:
        features = {
            "logmel": FeatureData(modality="audio", arrays=frames(of, 0), encoder="logmel-smcn", frame_rate=20.0),
            "bert": FeatureData(modality="text", arrays=frames(of, 1, dimension=5), encoder="bert"),
            "hubert": FeatureData(modality="audio", arrays=frames(of, 0, layers=3), encoder="hubert", layers=(0, 1, 2)),
        }
    write_store(path, Manifest(corpus=corpus, reader="tiny-1", utterances=of, excluded=excluded), features)
    return path


@cache
def _default_store() -> bytes:
    """The file of the store that most tests have, written once in a process."""
    with TemporaryDirectory() as folder:
        return store(Path(folder) / "tiny.h5", utterances()).read_bytes()


def protocol_file(folder: Path, text: str = TOML) -> str:
    """The protocol as a TOML file for `--protocol`; gives its path."""
    path = folder / "tiny4.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def config(folder: Path, name: str, model: str = "concat", **options: Any) -> FitConfig:
    """A short fit on the store and protocol in `folder`, without report; the run folder is `folder / name`."""
    defaults: dict[str, Any] = {
        "store": folder / "tiny.h5",
        "protocol": str(folder / "tiny4.toml"),
        "steps": 20,
        "settings": QUICK if model not in ("linear", "weighted-layers") else ("lr=0.03", "batch=16"),
        "device": "cpu",
        "out": folder / name,
        "report": False,  # takes as long as the fit
    }
    if model in ("smcn", "concat", "audio"):
        defaults["audio"] = "logmel"
    return FitConfig(model=model, **(defaults | options))


def quietly(config: FitConfig) -> Path:
    """Run a fit without output; gives its run folder."""
    return fit(config, say=lambda line: None).folder


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
