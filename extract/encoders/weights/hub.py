"""The Hugging Face hub: what a repository holds, its download, and its place in the local cache."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from emofuse.common.errors import UsageError
from emofuse.extract.audio.torchaudio_compat import require

_SECONDS = 5.0
_HTTP = ("httpx", "httpx2", "httpcore", "httpcore2", "requests")
"""HTTP libraries that versions of the client are built on; their errors reach its caller."""


class UnreachableError(Exception):
    """The hub did not answer; the text says why in a few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A repository of the hub at one commit: what an encoder reads of it."""

    name: str
    commit: str
    files: tuple[str, ...]
    bytes: int | None
    """Of these files; None where the hub does not say."""
    licence: str | None
    """As its page states it."""


def is_offline() -> bool:
    """Whether the user forbids requests to the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")


def cache() -> Path | None:
    """The hub's local cache; None where its client is not installed."""
    try:
        import huggingface_hub.constants as constants
    except ModuleNotFoundError:
        return None
    return Path(constants.HF_HUB_CACHE)


def cache_folder(name: str) -> Path | None:
    """The folder of a repository's main revision in the cache; None where it is not there."""
    root = cache()
    head = root / f"models--{name.replace('/', '--')}" / "refs" / "main" if root else None
    if head is None or not head.is_file():
        return None
    return head.parents[1] / "snapshots" / head.read_text(encoding="utf-8").strip()


def look_up(name: str, revision: str | None) -> Publication:
    """Ask the hub for a repository; one short request, as a download retries for minutes without a network.

    Raises:
        UsageError: There is no such repository or revision that the user can access.
        UnreachableError: The hub did not answer, or requests are forbidden.
    """
    if is_offline():
        raise UnreachableError("HF_HUB_OFFLINE is set")
    require("huggingface_hub")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        with _reachable():
            info = HfApi().model_info(name, revision=revision, timeout=_SECONDS, files_metadata=True)
    except (RepositoryNotFoundError, RevisionNotFoundError):
        at = f"@{revision}" if revision else ""
        raise UsageError(f"the hub has no repository {name}{at} that you can access") from None
    sizes = {s.rfilename: s.size for s in info.siblings or ()}
    files = wanted(sizes)
    known = [size for file in files if (size := sizes[file]) is not None]
    return Publication(
        name=name,
        commit=str(info.sha),
        files=tuple(files),
        bytes=sum(known) if len(known) == len(files) else None,
        licence=getattr(info.card_data, "license", None) if info.card_data else None,
    )


def download(published: Publication, folder: Path | None = None) -> Path:
    """Download what an encoder reads, into the cache or a folder; return where it is. A later call resumes.

    Raises:
        UnreachableError: The network failed.
    """
    from huggingface_hub import snapshot_download

    files = list(published.files)
    with _reachable():
        return Path(
            snapshot_download(published.name, revision=published.commit, allow_patterns=files, local_dir=folder)
        )


@contextmanager
def _reachable() -> Iterator[None]:
    """Turn errors of the network into `UnreachableError`; those of a disk pass."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        yield
    except (RepositoryNotFoundError, RevisionNotFoundError):  # errors of HTTP, too
        raise
    except OSError as error:
        if error.errno is not None and error.filename is not None:  # a full or unwritable disk, not the network
            raise
        raise UnreachableError(type(error).__name__) from None
    except Exception as error:
        if type(error).__module__.split(".")[0] not in _HTTP:
            raise
        raise UnreachableError(type(error).__name__) from None


def wanted(published: Iterable[str]) -> list[str]:
    """The files of a repository that an encoder reads: settings, vocabularies, one set of weights, and its pooling."""
    published = list(published)
    top = [f for f in published if "/" not in f]
    modules = r"[0-9]+_(Pooling|Dense)/(config\.json|model\.safetensors|pytorch_model\.bin)"
    pooling = [f for f in published if re.fullmatch(modules, f)]
    settings = [f for f in top if f.endswith((".json", ".txt", ".model"))]
    # Some decoders are published twice, the second time in the format of their own library.
    safetensors = [f for f in top if f.endswith(".safetensors") and not f.startswith("consolidated")]
    single = [f for f in safetensors if f == "model.safetensors"]
    pickled = [f for f in top if re.fullmatch(r"pytorch_model.*\.bin", f)]
    return settings + pooling + (single or safetensors or pickled)
