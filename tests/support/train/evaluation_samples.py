"""Another corpus than that of `train_samples`, to evaluate its runs on: other ids, two labels under other names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import train_samples as samples

from emofuse.manifests.schema import Utterance
from emofuse.store import FeatureData
from emofuse.train import Run, evaluate

THEIRS = {"ang": "anger", "hap": "joy", "neu": "neu", "sad": "sad"}
MAP = {"ang": "anger", "hap": "joy"}


def silent(line: str) -> None:
    """Print nothing."""


def other_utterances(**changes: Any) -> tuple[Utterance, ...]:
    """The other corpus: other ids, and two labels under other names."""
    return tuple(
        replace(u, id=f"other_{u.id}", label=THEIRS[str(u.label)], **changes) for u in samples.utterances(per_session=8)
    )


def other_store(path: Path, of: tuple[Utterance, ...] | None = None, corpus: str = "other", **changes: Any) -> Path:
    """Its store: other noise, the same bits of the class, so that a run on the small corpus is right on it too."""
    of = other_utterances() if of is None else of
    back = {theirs: ours for ours, theirs in THEIRS.items()}
    as_ours = tuple(replace(u, label=back.get(str(u.label), "sad")) for u in of)
    arrays = samples.frames(as_ours, 1, dimension=5, seed=7)
    made: dict[str, Any] = {"modality": "text", "arrays": arrays, "encoder": "bert"}
    return samples.store(path, of, corpus, {"bert": FeatureData(**(made | changes))})


def on_other(run: Run, name: str, **options: Any) -> Run:
    """Evaluate a run on the store `other.h5` beside it; the results are in folder `name` beside it."""
    where: dict[str, Any] = {"store": run.folder.parent / "other.h5", "out": run.folder.parent / name, "device": "cpu"}
    return evaluate(**({"run": run.folder, "map": MAP, "say": silent} | where | options))
