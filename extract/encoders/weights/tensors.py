"""Tensors of a weight file that any program may have written: looked up by name and checked against expected shapes.

The shape of a tensor is checked before its values are read, so that an untrusted file cannot exhaust the memory.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import DataError, UsageError
from emofuse.extract.encoders.weights.file_formats import READERS, Tensor, kind_of, torch_settings
from emofuse.extract.encoders.weights.messages import first_line
from emofuse.extract.encoders.weights.tflite import BrokenModelError

# Parts of tensor names that only one kind of network has; the first match wins.
_KNOWN_NETWORKS = (
    ("emotion2vec", ("modality_encoders.AUDIO.",)),
    ("beats", ("patch_embedding.weight",)),
    ("trill", ("/pointwise/scale",)),
    ("yamnet", ("depthwise_conv/",)),
    ("vggish", ("vggish/conv1/", "embeddings.4.weight")),
    ("vggish's PCA parameters", ("pca_eigen_vectors",)),
    ("torchvision's VGG, which reads images", ("classifier.6.weight",)),
    ("hubert, wav2vec2 or wavlm", ("feature_extractor.conv_layers.",)),
    ("whisper", ("encoder.embed_positions.weight",)),
    ("a text encoder such as bert", ("word_embeddings.weight", "SelfAttention.q.weight")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFile:
    """The tensors of one weight file."""

    path: Path
    encoder: str
    """The encoder that the weights are for; for messages."""
    kind: str
    """safetensors, torch, npz, hdf5 or tflite."""
    tensors: Mapping[str, Tensor]
    exact: bool = False
    """Whether names must match whole; else a tensor is also found inside any model or module."""

    def find(self, name: str) -> str | None:
        """The full name of the tensor called `name`; None where there is no such tensor."""
        plain = {full.removesuffix(":0"): full for full in self.tensors}
        if name in plain or self.exact:
            return plain.get(name)
        return next((plain[full] for full in plain if full.endswith((f"/{name}", f".{name}"))), None)

    def take(self, name: str, shape: tuple[int, ...], layer: str = "") -> NDArray[np.float32]:
        """The values, float32 of `shape`, of the tensor called `name`.

        Args:
            name: As in `find`.
            shape: The expected shape.
            layer: The network's own name for it, for messages.

        Raises:
            UsageError: It is missing or has another shape; the message guesses whose weights the file holds.
            DataError: Its values are damaged or not finite.
        """
        full = self.find(name)
        wanted = f"encoder {self.encoder} expects {f'{layer} ({name})' if layer else name} of shape {_times(shape)}"
        if full is None:
            raise UsageError(f"{self.path}: {wanted}, which is missing from the file{self.guess()}")
        if self.tensors[full].shape != shape:
            raise UsageError(f"{self.path}: {wanted}, found {_times(self.tensors[full].shape)}{self.guess()}")
        try:
            values = np.asarray(self.tensors[full].read()).astype(np.float32)
        except (BrokenModelError, OSError, ValueError, TypeError, RuntimeError, zipfile.BadZipFile) as error:
            raise DataError(f"{self.path} is damaged at {name} ({first_line(error)}); download it again") from None
        if values.shape != shape or not np.isfinite(values).all():
            raise DataError(f"{self.path} holds values in {name} that are not finite numbers; download it again")
        return values

    def settings(self) -> dict[str, Any]:
        """The settings that a PyTorch file holds beside its tensors; empty for other files."""
        return torch_settings(self.path) if self.kind == "torch" else {}

    def guess(self) -> str:
        """Whose weights the file seems to hold, as the end of a message; empty where they are this encoder's."""
        for network, marks in _KNOWN_NETWORKS:
            if any(mark in name for name in self.tensors for mark in marks):
                return "" if network == self.encoder else f"; these look like weights of {network}"
        return f"; it has {', '.join(sorted(self.tensors)[:3]) or 'no tensors'}"


def find_file(encoder: str, given: str | None, suffixes: Iterable[str], hint: str) -> Path:
    """The file that `--weights` names, or the only file with one of the suffixes in the folder that it names.

    Raises:
        UsageError: No file is named, or the folder has no or several such files; `hint` says where to get weights.
    """
    if given is None:
        raise UsageError(f"encoder {encoder} has no default weights: {hint}")
    path = Path(given)
    if path.is_file():
        return path
    if not path.is_dir():
        raise UsageError(f"--weights is {given!r}, expected a file or folder that exists; {hint}")
    files = sorted(f for f in path.iterdir() if f.suffix in suffixes and "pca" not in f.name.lower() and f.is_file())
    if len(files) != 1:
        names = ", ".join(f.name for f in files) or "none"
        raise UsageError(f"{path} holds {names} of {', '.join(suffixes)}; pass one file as --weights; {hint}")
    return files[0]


def read_tensors(path: Path, encoder: str, hint: str) -> TensorFile:
    """Open a weight file.

    Raises:
        UsageError: The file has no known format; `hint` says which file to pass.
        DataError: The file is damaged, empty, or contains pickled code.
    """
    if not path.stat().st_size:
        raise DataError(f"{path} is empty (0 bytes); download it again")
    kind = kind_of(path)
    if kind is None:
        raise UsageError(f"{path} holds no weights of a kind that encoder {encoder} reads; {hint}")
    try:
        return TensorFile(path=path, encoder=encoder, kind=kind, tensors=READERS[kind](path))
    except pickle.UnpicklingError:
        raise DataError(f"{path} holds pickled code or is damaged; only plain tensors are read") from None
    except Exception as error:
        # Libraries raise anything on a damaged file; those of safetensors derive from Exception itself.
        if isinstance(error, DataError | UsageError | MemoryError):
            raise
        raise DataError(f"{path} is damaged or cut off ({first_line(error)}); download it again") from None


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "none (one number)"
