"""Which clips of a corpus an encoder heard, without labels, when `emofuse pretrain` made its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emofuse.manifests.schema import Manifest

LISTING = "audio.txt"
"""In a run of `pretrain`: a line for each recording, its name, a tab and the digest that a store has of such a clip."""


def listing(weights: str | None) -> Path | None:
    """The listing that belongs to weights: in their folder, or, for one fold of a run of `finetune`, in the run's."""
    path = Path(weights or "")
    folders = (path, path.parent) if path.is_dir() else (path.parent,)
    return next((f / LISTING for f in folders if weights and (f / LISTING).is_file()), None)


def pretraining_overlap(weights: str | None, manifest: Manifest) -> list[dict[str, Any]]:
    """An entry of `fitted_on` for the clips of a surveyed manifest that pretraining heard; none: there are none.

    Args:
        weights: What the user gave: a run's folder, or a checkpoint in it.
    """
    found = listing(weights)
    if found is None:
        return []
    known = {line.rpartition("\t")[2] for line in found.read_text(encoding="utf-8").splitlines()}
    ids = sorted(u.id for u in manifest.utterances if u.audio_digest in known)
    return [{"corpus": manifest.corpus, "labels": False, "ids": ids}] if ids else []
