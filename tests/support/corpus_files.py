"""Corpora on disk: files under the names of a release, without content, and their counts beside a protocol's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from emofuse.manifests import protocol_files
from emofuse.manifests.schema import Manifest


def lay_out(root: Path, *names: str) -> Path:
    """Empty files in their folders; returns the root."""
    for folder in {(root / name).parent for name in names}:
        folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / name).touch()
    return root


def differences(manifest: Manifest, protocols: Iterable[str]) -> list[str]:
    """Where a manifest differs from what protocols expect."""
    found = []
    for task in map(protocol_files.load, protocols):
        found += task.differences([u for u in manifest.utterances if task.class_of(u) is not None])
    return found
