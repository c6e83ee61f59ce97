"""Three small corpora with different labels and groups, for the tests of tasks over several stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import train_samples as samples

from emofuse.manifests.schema import Excluded, Utterance
from emofuse.store import FeatureData
from emofuse.train.resolve.config import FitConfig

LABELS = {
    "big": dict(zip(samples.CLASSES, ("ang", "exc", "neu", "sad"), strict=True)),
    "small": dict(zip(samples.CLASSES, ("a", "h", "n", "sa"), strict=True)),
    "far": dict(zip(samples.CLASSES, ("angry", "joy", "calm", "sorrow"), strict=True)),
}
"""The labels of each corpus; `calm` of the last one is in no task."""
TOML = """\
corpora = ["small", "big"]
source = "made for the tests"
classes = ["anger", "happy", "neutral", "sad"]
metrics = ["ua", "wa"]
{top}
[labels]
big = {{ ang = "anger", exc = "happy", neu = "neutral", sad = "sad" }}
small = {{ a = "anger", h = "happy", n = "neutral", sa = "sad" }}
{labels}
[folds]
by = {{ big = "session", small = "speaker" }}
disjoint = {{ big = ["session", "speaker", "dialogue"], small = ["speaker"] }}
{folds}
{expected}
"""
GROUPS = 'groups = [["big:1", "small:1F", "small:1M"], ["big:2", "small:2F", "small:2M"], ["big:3"]]'
VALIDATION = 'validation = ["big:3", "small:2F"]'
FAR = 'far = { angry = "anger", joy = "happy", sorrow = "sad" }'


def utterances(corpus: str) -> tuple[Utterance, ...]:
    """`big` has three sessions; `small` only speakers; `far` only an official split. Their ids are the same."""
    base = samples.utterances(16, 2 if corpus == "small" else 3)
    named = [replace(u, label=LABELS[corpus][str(u.label)]) for u in base]
    if corpus == "small":
        named = [replace(u, session=None, dialogue=None) for u in named]
    if corpus == "far":
        splits = {"1": "train", "2": "dev", "3": "test"}
        named = [replace(u, split=splits[str(u.session)], session=None, speaker=None, dialogue=None) for u in named]
    return tuple(named)


def features(corpus: str, **fingerprint: Any) -> dict[str, FeatureData]:
    """`logmel` and `bert`, as in the tests of one corpus."""
    base = samples.utterances(16, 2 if corpus == "small" else 3)
    settings = {"pool": 5, "extractor": 1} | fingerprint
    options = {"corpus_options": ["--root", f"/data/{corpus}"]}
    return {
        "logmel": FeatureData(
            modality="audio",
            arrays=samples.frames(base, 0, seed=len(corpus)),
            encoder="logmel-smcn",
            frame_rate=20.0,
            fingerprint=settings,
            provenance=options,
        ),
        "bert": FeatureData(
            modality="text",
            arrays=samples.frames(base, 1, dimension=5, seed=len(corpus)),
            encoder="bert",
            fingerprint={"layers": [12], **settings},
            provenance=options | {"encoder_options": ["--weights", "w"]},
        ),
    }


def store(
    folder: Path,
    corpus: str,
    members: tuple[Utterance, ...] | None = None,
    data: Mapping[str, FeatureData] | None = None,
    excluded: tuple[Excluded, ...] = (),
    name: str | None = None,
) -> Path:
    """A store of a corpus, at `folder / CORPUS.h5`."""
    path = folder / f"{name or corpus}.h5"
    members = utterances(corpus) if members is None else members
    return samples.store(path, members, corpus=corpus, features=data or features(corpus), excluded=excluded)


def protocol(folder: Path, name: str = "both", far: bool = False, top: str = "", **parts: str) -> str:
    """A protocol file over `big` and `small`, tested fold by fold or on `far`."""
    usual = {"labels": FAR if far else "", "folds": VALIDATION if far else GROUPS, "expected": ""}
    top = f'test_corpus = "far"\n{top}' if far else top
    path = folder / f"{name}.toml"
    path.write_text(TOML.format(top=top, **(usual | parts)), encoding="utf-8")
    return str(path)


def config(
    folder: Path, stores: Sequence[str] = ("big", "small"), test: str | None = None, **options: Any
) -> FitConfig:
    """A short fit of stores in `folder`."""
    paths = [folder / f"{name}.h5" for name in stores]
    far = folder / f"{test}.h5" if test else None
    usual: dict[str, Any] = {"model": "concat", "audio": None, "text": None, "steps": 20, "settings": samples.QUICK}
    if options.get("model", "concat") == "concat":
        usual["audio"] = "logmel"
    usual |= {"device": "cpu", "protocol": str(folder / ("far.toml" if test else "both.toml"))}
    return FitConfig(store=paths[0], more_stores=tuple(paths[1:]), test_store=far, **(usual | options))
