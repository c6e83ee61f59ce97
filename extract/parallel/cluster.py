"""A look at the workers of a Dask cluster, before they encode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emofuse.common.disk.files import behind_link
from emofuse.common.errors import UsageError
from emofuse.common.system.cluster import Seen, alike, seen, sees, token_in
from emofuse.extract.plan.job import FeatureJob

if TYPE_CHECKING:
    from distributed import Client

PACKAGES = ("emofuse", "torch", "transformers", "tokenizers", "torchaudio", "numpy")
"""What all must compute with alike."""


def look(root: Path, clip: tuple[str, int] | None, token: Path, content: str, device: str) -> Seen:
    """On a worker: whether it has what the work needs.

    Args:
        root: The corpus.
        clip: One of its files and its size in bytes; none: no audio is read.
        token: A file that the coordinator wrote beside the store.
        content: What it holds.
        device: As the user asked for it.
    """
    from emofuse.extract.plan.device import device_of

    problems, found = [], device
    try:
        found = device_of(device)
    except UsageError as error:
        problems.append(str(error))
    if clip is not None:
        path = root / clip[0]
        if not path.is_file():
            problems.append(f"has no {path}: the corpus must lie at the same place for all")
        elif path.stat().st_size != clip[1]:
            problems.append(f"has another {path}, of {path.stat().st_size} bytes and not {clip[1]}")
    return seen(PACKAGES, found, problems + sees(token, content, "store"))


def inspect(client: Client, jobs: Sequence[FeatureJob], asked: str) -> str:
    """The device that all workers have, after a look at each of them.

    Raises:
        UsageError: A worker has another version, no corpus, no shared disk or another device; all are named.
    """
    first = jobs[0]
    root = first.root.resolve()
    reads_audio = any(job.encoder.modality == "audio" for job in jobs)
    spoken = (u.audio for u in first.manifest.utterances if reads_audio and u.audio and (root / u.audio).is_file())
    clip = next(((audio, (root / audio).stat().st_size) for audio in spoken), None)
    with token_in(behind_link(first.store).parent, first.store.name) as (token, content):
        return alike(client, look, (root, clip, token, content, asked), PACKAGES)


def gpus() -> int:
    """How many GPUs this process sees."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
