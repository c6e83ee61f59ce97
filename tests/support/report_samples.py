"""Runs for the tests of `report`: one on recordings with words, and one whose names look like HTML."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import train_samples

from emofuse.manifests.schema import Utterance
from emofuse.report import Report, report
from emofuse.store import FeatureData
from emofuse.train import Run, fit

HTML = "<img src=x onerror=alert(1)>"
HOSTILE_FILES = ("javascript:x.wav", "a b#c?.wav", f"{HTML}.wav")
QUICK: dict[str, Any] = {"model": "text", "settings": {"hidden": 4, "lr": 1e-3}, "steps": 4, "device": "cpu"}


def silent(line: str) -> None:
    """Print nothing."""


def hostile_utterances() -> tuple[Utterance, ...]:
    """The small corpus with HTML and scripts in every name and text."""
    return tuple(
        replace(
            u,
            id=f"{HTML}{u.id}",
            text=f"</script><script>alert({n})</script> {HTML}",
            speaker=f"{HTML}{u.speaker}",
            audio=HOSTILE_FILES[n % len(HOSTILE_FILES)],
        )
        for n, u in enumerate(train_samples.utterances(per_session=8))
    )


def store(path: Path, of: tuple[Utterance, ...]) -> Path:
    """A store of these utterances with a feature `bert`."""
    arrays = train_samples.frames(of, 1, dimension=5)
    return train_samples.store(path, of, features={"bert": FeatureData(modality="text", arrays=arrays, encoder="bert")})


def run(folder: Path, name: str = "run", of: tuple[Utterance, ...] | None = None, **options: Any) -> Run:
    """A short fit on the store `tiny.h5` in the folder, written unless it is there; the run is `folder / name`."""
    path = folder / "tiny.h5"
    if not path.exists():
        store(path, train_samples.utterances(per_session=8) if of is None else of)
    protocol = train_samples.protocol_file(folder)
    return fit(**(QUICK | {"store": path, "protocol": protocol, "out": folder / name, "say": silent} | options))


def page_of(made: Report) -> str:
    """The text of a page."""
    (path,) = made.files
    return path.read_text(encoding="utf-8")


def reported(path: Path, **options: Any) -> tuple[Report, list[str]]:
    """`report` of a path without what its models show, with the lines that it prints."""
    lines: list[str] = []
    return report(path=path, say=lines.append, **({"no_models": True, "maps": "tsne"} | options)), lines
