"""Which clips of a corpus an encoder heard, without labels, when `emofuse pretrain` made its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emofuse.manifests.schema import Manifest

LISTING = "audio.txt"
"""Beside a checkpoint of `pretrain`: a line for each recording, its name, a tab and the digest of the file."""


def heard(weights: str | None, manifest: Manifest) -> list[dict[str, Any]]:
    """An entry of `fitted_on` for the clips of a surveyed manifest that pretraining heard; none: there are none.

    Args:
        weights: What the user gave: the run's folder, or the file in it.
    """
    path = Path(weights or "")
    listing = (path if path.is_dir() else path.parent) / LISTING
    if weights is None or not listing.is_file():
        return []
    known = {line.rpartition("\t")[2] for line in listing.read_text(encoding="utf-8").splitlines()}
    ids = sorted(u.id for u in manifest.utterances if u.audio_digest in known)
    return [{"corpus": manifest.corpus, "labels": False, "ids": ids}] if ids else []
