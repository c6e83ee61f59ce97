"""What the encoders that read log-Mel patches one by one share: which outputs are stored, and the run over patches."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from emofuse.common.disk import tensor_file
from emofuse.common.errors import UsageError
from emofuse.extract.encoders.base import Array, EncoderOptions, Modality
from emofuse.extract.encoders.blocks.audioset import SAMPLE_RATE, FrontEnd
from emofuse.extract.encoders.blocks.pretrained import PRECISIONS
from emofuse.extract.encoders.blocks.tuning import WEIGHTS, Block, Tuning
from emofuse.extract.encoders.weights.locate import Weights
from emofuse.extract.encoders.weights.tensors import TensorFile

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

_CHUNK = 128  # patches in the network at once, whatever the batch: VGGish's first layer makes 1.5 MB of each


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchOutputs:
    """What a network can give, numbered from 1: its layers, then what has a name alone."""

    widths: tuple[int, ...]
    names: Mapping[str, int]
    """Words for some of the numbers."""
    layers: int
    """The highest number that is a layer; what lies beyond is asked for by name."""

    def choose(self, words: str) -> tuple[int, ...]:
        """The outputs that `--layers` asks for, as numbers.

        Raises:
            UsageError: One that there is not, one named twice, or several of different widths.
        """
        known = {**self.names, **{str(n): n for n in range(1, self.layers + 1)}}
        if words in ("all", "mean"):
            raise UsageError(f"--layers {words} needs layers of one width, but here they are {self._widths()}")
        chosen = [known.get(word.strip()) for word in words.split(",")]
        numbers = tuple(n for n in chosen if n is not None)
        if len(numbers) < len(chosen) or len(set(numbers)) < len(numbers):
            raise UsageError(
                f"--layers is {words!r}, expected {', '.join(self.names)} or numbers from 1 to {self.layers}: one, or "
                f"different ones of one width: {self._widths()}"
            )
        if len({self.widths[n - 1] for n in numbers}) > 1:
            raise UsageError(
                f"--layers {words}: outputs of different widths cannot share a layer axis; they are {self._widths()}. "
                "Extract each as a feature of its own (--name)"
            )
        return numbers

    def identity(self, numbers: tuple[int, ...]) -> list[int | str]:
        """For the fingerprint: layers by number, the others by name."""
        named = {n: name for name, n in self.names.items()}
        return [n if n <= self.layers else named[n] for n in numbers]

    def _widths(self) -> str:
        parts: dict[int, list[str]] = {}
        for entry, width in zip(self.identity(tuple(range(1, len(self.widths) + 1))), self.widths, strict=True):
            parts.setdefault(width, []).append(str(entry))
        return "; ".join(f"{width} wide: {', '.join(entries)}" for width, entries in parts.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchEncoder:
    """A network that turns each log-Mel patch of 0.96 s into one frame."""

    encoder: str
    front_end: FrontEnd
    outputs: PatchOutputs
    chosen: tuple[int, ...]
    network: Callable[[Tensors, torch.Tensor, tuple[int, ...]], torch.Tensor]
    """From its parameters and patches, float32 [N, 96, 64] on the device, to outputs by number, float32 [N, L, D]."""
    parameters: Tensors
    """On the device, by name, those of a layer with its number in their name; `tuning` changes them."""
    weights: Weights
    digest: str
    """Of the weights."""
    pretrained_on: str
    """What the published weights were trained on."""
    options: EncoderOptions

    @property
    def modality(self) -> Modality:
        """Waveforms."""
        return "audio"

    @property
    def dimension(self) -> int:
        """The width of the chosen outputs."""
        return self.outputs.widths[self.chosen[0] - 1]

    @property
    def layers(self) -> tuple[int, ...]:
        """As chosen; empty where there is one."""
        return self.chosen if len(self.chosen) > 1 else ()

    @property
    def frame_rate(self) -> float:
        """Patches per second."""
        return self.front_end.frame_rate

    @property
    def sample_rate(self) -> int:
        """16 kHz."""
        return SAMPLE_RATE

    def identity(self) -> dict[str, Any]:
        """Weights, layers, precision and every setting of the patches."""
        return {
            "encoder": self.encoder,
            "version": 1,
            "weights": self.digest,
            "layers": self.outputs.identity(self.chosen),
            "precision": self.options.precision,
            **self.front_end.identity(),
        }

    def provenance(self) -> dict[str, Any]:
        """Versions, where the weights came from, and what they saw."""
        files = " and ".join(file.name for file in self.weights.files)
        return {
            "libraries": {"torch": version("torch")},
            "repository": None,
            "revision": None,
            "pretrained_on": f"{self.pretrained_on}, if {files} holds the published weights",
            "fitted_on": self._fitted_on(),
            **self.weights.said(),
            "device": self.options.device,
        }

    def _fitted_on(self) -> list[dict[str, Any]]:
        """Published files are known; safetensors are of ours, or somebody's who does not say how they were made."""
        silent = self.weights.files[0].suffix == ".safetensors"
        about = "the checkpoint does not say what it was fitted on"
        return [{"corpus": "unknown", "labels": True, "about": about}] if silent else []

    def length(self, item: int | str) -> int:
        """Patches of a clip of `item` samples at 16 kHz."""
        return self.front_end.count(cast(int, item))

    def encode(self, items: Sequence[Array] | Sequence[str]) -> list[Array]:
        """One array [T_i, D] or [T_i, L, D] per waveform [samples at 16 kHz, -1..1]."""
        import torch

        patches = self.front_end.batch(cast(Sequence[Array], items))
        if not patches:
            return []
        # TF32 rounds by shape, so that a feature would depend on its batch.
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            chunks = [
                self.network(self.parameters, c.to(self.options.device), self.chosen)
                for c in torch.split(torch.cat(patches), _CHUNK)
            ]
            values = torch.cat([chunk.cpu() for chunk in chunks]).numpy()
        if len(self.chosen) == 1:
            values = values[:, 0]
        ends = np.cumsum([len(p) for p in patches])
        return [part.copy() for part in np.split(values, ends[:-1])]

    def tuning(self) -> Tuning:
        """For `finetune`: what the last layer depends on is fitted, the rest stays."""
        from torch import nn

        module = nn.Module()
        layers: dict[int, list[nn.Parameter]] = {}
        for name, tensor in self.parameters.items():
            self.parameters[name] = parameter = nn.Parameter(tensor)
            module.register_parameter(name.replace(".", "/"), parameter)
            number = re.search(r"\d+", name)
            if number and int(number[0]) <= self.chosen[0]:
                layers.setdefault(int(number[0]), []).append(parameter)
        return Tuning(
            module=module,
            dimension=self.dimension,
            blocks=tuple(Block(name=f"layer {n}", parameters=tuple(layers[n])) for n in sorted(layers)),
            pooled=self._pooled,
            save=self._save,
        )

    def _pooled(self, items: Sequence[Array] | Sequence[str]) -> torch.Tensor:
        import torch

        patches = self.front_end.batch(cast(Sequence[Array], items))
        # A copy: what was computed without gradients cannot take part in them.
        every = torch.cat(patches).clone().to(self.options.device)
        frames = self.network(self.parameters, every, self.chosen)[:, 0]
        return torch.stack([part.mean(0) for part in torch.split(frames, [len(p) for p in patches])])

    def _save(self, folder: Path, about: Mapping[str, Any]) -> None:
        tensor_file.write(folder / WEIGHTS, self.parameters, about)


def own_tensors(file: TensorFile, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """A network's tensors from a checkpoint that `finetune` wrote, under the names that `PatchEncoder` knows.

    Raises:
        UsageError, DataError: As `TensorFile.take`.
    """
    return {name: file.take(name, shape) for name, shape in shapes.items()}


def place(tensors: Mapping[str, NDArray[np.float32]], options: EncoderOptions) -> Tensors:
    """A network's tensors on its device, in its precision."""
    import torch

    kind = getattr(torch, PRECISIONS[options.precision])
    return {name: torch.from_numpy(np.ascontiguousarray(t)).to(options.device, kind) for name, t in tensors.items()}
