"""Inspects the workers of a Dask cluster before they encode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emofuse.common.disk.files import resolve_link
from emofuse.common.errors import UsageError
from emofuse.common.system.dask_cluster import (
    WorkerReport,
    check_workers,
    remove_stale_tokens,
    report_worker,
    shared_folder_problems,
    shared_token,
)
from emofuse.extract.plan.device import device_of
from emofuse.extract.plan.job import FeatureJob

if TYPE_CHECKING:
    from distributed import Client

PACKAGES = ("emofuse", "torch", "transformers", "tokenizers", "torchaudio", "numpy")
"""Packages whose versions must be equal on all workers."""


def inspect_worker(root: Path, clip: tuple[str, int] | None, token: Path, content: str, device: str) -> WorkerReport:
    """On a worker: whether it has what the work needs.

    Args:
        root: The corpus.
        clip: One of its files and the file's size in bytes; None if no audio is read.
        token: A file that the coordinator wrote beside the store.
        content: The content of that file.
        device: As the user requested it.
    """
    problems, actual_device = [], device
    try:
        actual_device = device_of(device)
    except UsageError as error:
        problems.append(str(error))
    if clip is not None:
        path, size = root / clip[0], clip[1]
        if not path.is_file():
            problems.append(f"has no {path}: the corpus must be at the same path on all machines")
        elif path.stat().st_size != size:
            problems.append(f"has a different {path}, of {path.stat().st_size} bytes instead of {size}")
    return report_worker(PACKAGES, actual_device, problems + shared_folder_problems(token, content, "store"))


def inspect_workers(client: Client, jobs: Sequence[FeatureJob], device: str) -> str:
    """Inspect every worker; returns the device that all of them have.

    Raises:
        UsageError: A worker has other package versions, no corpus, no shared disk or another device; all are named.
    """
    first = jobs[0]
    root = first.root.resolve()
    reads_audio = any(job.encoder.modality == "audio" for job in jobs)
    files = (u.audio for u in first.manifest.utterances if reads_audio and u.audio and (root / u.audio).is_file())
    clip = next(((audio, (root / audio).stat().st_size) for audio in files), None)
    folder, name = resolve_link(first.store).parent, first.store.name
    remove_stale_tokens(folder, name)
    with shared_token(folder, name) as (token, content):
        return check_workers(client, inspect_worker, (root, clip, token, content, device), PACKAGES)


def gpu_count() -> int:
    """How many GPUs are visible to this process."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
