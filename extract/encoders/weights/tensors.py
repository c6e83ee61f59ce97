"""An encoder's tensors in a file that somebody else made: found by name, held against the shapes that it expects.

A shape is compared before any value is read, so a stranger's file cannot fill the memory.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import DataError, UsageError
from emofuse.extract.encoders.weights.file_formats import READERS, Tensor, kind_of
from emofuse.extract.encoders.weights.tflite import BrokenModelError

# What names only one kind of network has; the first that fits is told.
_LOOKS = (
    ("trill", ("/pointwise/scale",)),
    ("yamnet", ("depthwise_conv/",)),
    ("vggish", ("vggish/conv1/", "embeddings.4.weight")),
    ("vggish's PCA parameters", ("pca_eigen_vectors",)),
    ("torchvision's VGG, which reads pictures", ("classifier.6.weight",)),
    ("hubert, wav2vec2 or wavlm", ("feature_extractor.conv_layers.",)),
    ("whisper", ("encoder.embed_positions.weight",)),
    ("a text encoder such as bert", ("word_embeddings.weight", "SelfAttention.q.weight")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFile:
    """The tensors of one file, for one encoder."""

    path: Path
    encoder: str
    """Whose weights they should be; for messages."""
    kind: str
    """safetensors, torch, npz, hdf5 or tflite."""
    tensors: Mapping[str, Tensor]

    def find(self, name: str) -> str | None:
        """The full name of the tensor called `name`, whatever model or module it lies in; none: there is no such."""
        plain = {full.removesuffix(":0"): full for full in self.tensors}
        if name in plain:
            return plain[name]
        return next((plain[full] for full in plain if full.endswith((f"/{name}", f".{name}"))), None)

    def take(self, name: str, shape: tuple[int, ...], layer: str = "") -> NDArray[np.float32]:
        """The values of the tensor called `name`, float32; `layer` is what the network calls it, for messages.

        Raises:
            UsageError: It is absent or of another shape; says which, and whose weights the file seems to hold.
            DataError: Its values are damaged or not finite numbers.
        """
        full = self.find(name)
        wanted = f"encoder {self.encoder} expects {f'{layer} ({name})' if layer else name} of shape {_times(shape)}"
        if full is None:
            raise UsageError(f"{self.path}: {wanted}, which the file lacks{self.looks()}")
        if self.tensors[full].shape != shape:
            raise UsageError(f"{self.path}: {wanted}, found {_times(self.tensors[full].shape)}{self.looks()}")
        try:
            values = np.asarray(self.tensors[full].read()).astype(np.float32)
        except (BrokenModelError, OSError, ValueError, TypeError, RuntimeError, zipfile.BadZipFile) as error:
            raise DataError(f"{self.path} is damaged at {name} ({_line(error)}); download it again") from None
        if values.shape != shape or not np.isfinite(values).all():
            raise DataError(f"{self.path} holds values in {name} that are not finite numbers; download it again")
        return values

    def looks(self) -> str:
        """Whose weights the file seems to hold, for the end of a message; nothing where they are this encoder's."""
        for owner, marks in _LOOKS:
            if any(mark in name for name in self.tensors for mark in marks):
                return "" if owner == self.encoder else f"; these look like weights of {owner}"
        return f"; it has {', '.join(sorted(self.tensors)[:3]) or 'no tensors'}"


def find_file(encoder: str, given: str | None, suffixes: Iterable[str], advice: str) -> Path:
    """The file that `--weights` names, or the only one with one of the suffixes in the folder that it names.

    Raises:
        UsageError: None is named, or no or several files are there; `advice` says where weights are published.
    """
    if given is None:
        raise UsageError(f"encoder {encoder} has no weights of its own: {advice}")
    path = Path(given)
    if path.is_file():
        return path
    if not path.is_dir():
        raise UsageError(f"--weights is {given!r}, expected a file or folder that exists; {advice}")
    held = sorted(f for f in path.iterdir() if f.suffix in suffixes and "pca" not in f.name.lower() and f.is_file())
    if len(held) != 1:
        names = ", ".join(f.name for f in held) or "none"
        raise UsageError(f"{path} holds {names} of {', '.join(suffixes)}; pass one file as --weights; {advice}")
    return held[0]


def read_tensors(path: Path, encoder: str, advice: str) -> TensorFile:
    """Open a file of tensors.

    Raises:
        UsageError: It is of no kind that is read here; `advice` says what to pass.
        DataError: It is damaged, empty, or holds code.
    """
    if not path.stat().st_size:
        raise DataError(f"{path} is empty (0 bytes); download it again")
    kind = kind_of(path)
    if kind is None:
        raise UsageError(f"{path} holds no weights of a kind that encoder {encoder} reads; {advice}")
    try:
        return TensorFile(path=path, encoder=encoder, kind=kind, tensors=READERS[kind](path))
    except pickle.UnpicklingError:
        raise DataError(f"{path} holds pickled code or is damaged; only plain tensors are read") from None
    except Exception as error:
        # A damaged file ends in whatever its library meets first; safetensors' own errors share no base but this.
        if isinstance(error, DataError | UsageError | MemoryError):
            raise
        raise DataError(f"{path} is damaged or cut off ({_line(error)}); download it again") from None


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "none (one number)"


def _line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
