"""The clips of a corpus that an encoder has seen, without labels, when `emofuse pretrain` made its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emofuse.manifests.schema import Manifest

LISTING = "audio.txt"
"""In a run of `pretrain`: one line per recording, its name, a tab, and the digest that a store records of the clip."""


def find_listing(weights: str | None) -> Path | None:
    """The listing of the recordings: in the folder of `weights`, or, for one fold of a `finetune` run, in the run's."""
    path = Path(weights or "")
    folders = (path, path.parent) if path.is_dir() else (path.parent,)
    return next((f / LISTING for f in folders if weights and (f / LISTING).is_file()), None)


def pretraining_overlap(weights: str | None, manifest: Manifest) -> list[dict[str, Any]]:
    """A `fitted_on` entry for the clips of a scanned manifest that were seen in pre-training; empty if there are none.

    Args:
        weights: As the user gave them: a run's folder, or a checkpoint in it.
        manifest: With the digests of the clips.
    """
    listing = find_listing(weights)
    if listing is None:
        return []
    seen = {line.rpartition("\t")[2] for line in listing.read_text(encoding="utf-8").splitlines()}
    ids = sorted(u.id for u in manifest.utterances if u.audio_digest in seen)
    return [{"corpus": manifest.corpus, "labels": False, "ids": ids}] if ids else []
