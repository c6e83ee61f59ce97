"""Encoders over log-Mel patches, one frame per patch of 0.96 s: loading, the forward pass and fine-tuning."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from emofuse.common.disk import tensor_file
from emofuse.extract.encoders.base import Array, EncoderDefaults, EncoderOptions, Modality
from emofuse.extract.encoders.blocks.audioset_logmel import SAMPLE_RATE, FrontEnd
from emofuse.extract.encoders.blocks.options import PRECISIONS, check_options
from emofuse.extract.encoders.blocks.patch_outputs import PatchOutputs
from emofuse.extract.encoders.blocks.tuning import WEIGHTS, Block, Tuning
from emofuse.extract.encoders.weights.locate import Weights
from emofuse.extract.encoders.weights.tensors import TensorFile, find_file, read_tensors

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

_CHUNK = 128
"""Patches in the network at once, whatever the batch: VGGish's first layer needs 1.5 MB for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchNetwork:
    """A network over log-Mel patches: how it computes, and where its weights come from."""

    encoder: str
    """Name of the registered encoder."""
    front_end: FrontEnd
    outputs: PatchOutputs
    forward: Callable[[Tensors, torch.Tensor, tuple[int, ...]], torch.Tensor]
    """Parameters, patches float32 [N, 96, 64] and output numbers -> outputs float32 [N, L, D]."""
    suffixes: tuple[str, ...]
    """Suffixes of its weight files."""
    read_weights: Callable[[TensorFile], dict[str, Array]]
    """A weight file -> the network's parameters by name; a layer's number is part of the name."""
    hint: str
    """Where to get weights; the end of messages about missing ones."""
    pretrained_on: str
    """What the published weights were trained on."""

    def build(self, options: EncoderOptions) -> PatchEncoder:
        """Load the weights that the options name.

        Raises:
            UsageError: An option that cannot work, missing weights, or another network's weights.
            DataError: The weights are damaged.
        """
        numbers, path = self.choose(options)
        return self.load(options, numbers, (path,))

    def choose(self, options: EncoderOptions) -> tuple[tuple[int, ...], Path]:
        """The output numbers and the weight file that the options name.

        Raises:
            UsageError: An option that cannot work, or missing weights.
        """
        check_options(options)
        return self.outputs.choose(options.layers), find_file(self.encoder, options.weights, self.suffixes, self.hint)

    def load(self, options: EncoderOptions, numbers: tuple[int, ...], files: tuple[Path, ...]) -> PatchEncoder:
        """Load the network's weights from the first file; further files belong to the identity of the weights.

        Raises:
            UsageError: Another network's weights.
            DataError: The weights are damaged.
        """
        arrays = self.read_weights(read_tensors(files[0], self.encoder, self.hint))
        weights = Weights(folder=files[0].parent, files=files)
        return PatchEncoder(
            network=self,
            numbers=numbers,
            parameters=place(arrays, options),
            weights=weights,
            digest=weights.digest(),
            options=options,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchEncoder(EncoderDefaults):
    """A loaded network that turns each log-Mel patch of 0.96 s into one frame."""

    network: PatchNetwork
    numbers: tuple[int, ...]
    """The outputs that are stored."""
    parameters: Tensors
    """On the device, by name; `tuning` replaces them by trainable ones."""
    weights: Weights
    digest: str
    """xxh3_128 of the weight files."""
    options: EncoderOptions

    @property
    def modality(self) -> Modality:
        """Waveforms."""
        return "audio"

    @property
    def dimension(self) -> int:
        """The width of the stored outputs."""
        return self.network.outputs.widths[self.numbers[0] - 1]

    @property
    def layers(self) -> tuple[int, ...]:
        """The stored outputs; empty for a single one."""
        return self.numbers if len(self.numbers) > 1 else ()

    @property
    def frame_rate(self) -> float:
        """Patches per second."""
        return self.network.front_end.frame_rate

    @property
    def sample_rate(self) -> int:
        """16000 Hz."""
        return SAMPLE_RATE

    def identity(self) -> dict[str, Any]:
        """Weights, layers, precision and every setting of the patches."""
        return {
            "encoder": self.network.encoder,
            "version": 1,
            "weights": self.digest,
            "layers": self.network.outputs.identity(self.numbers),
            "precision": self.options.precision,
            **self.network.front_end.identity(),
        }

    def provenance(self) -> dict[str, Any]:
        """Library versions, origin of the weights, and the data that they were trained on."""
        files = " and ".join(file.name for file in self.weights.files)
        return {
            "libraries": {"torch": version("torch")},
            "repository": None,
            "revision": None,
            "pretrained_on": f"{self.network.pretrained_on}, if {files} holds the published weights",
            "fitted_on": self._fitted_on(),
            **self.weights.card(),
            "device": self.options.device,
        }

    def _fitted_on(self) -> list[dict[str, Any]]:
        """Published weights saw no emotion labels; a safetensors file without our card may have seen any."""
        about = "the checkpoint does not say what it was fitted on"
        unknown = self.weights.files[0].suffix == ".safetensors"
        return [{"corpus": "unknown", "labels": True, "about": about}] if unknown else []

    def length(self, item: int | str) -> int:
        """Number of patches of a waveform of `item` samples at 16 kHz."""
        return self.network.front_end.count(cast(int, item))

    def encode(self, items: Sequence[Array] | Sequence[str]) -> list[Array]:
        """One array [T_i, D] or [T_i, L, D] per waveform [samples at 16 kHz, -1..1]."""
        import torch

        patches = self.network.front_end.batch(cast(Sequence[Array], items))
        if not patches:
            return []
        # TF32 rounds depending on the shape, so that a feature would depend on its batch.
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            chunks = [
                self.network.forward(self.parameters, chunk.to(self.options.device), self.numbers)
                for chunk in torch.split(torch.cat(patches), _CHUNK)
            ]
            values = torch.cat([chunk.cpu() for chunk in chunks]).numpy()
        if len(self.numbers) == 1:
            values = values[:, 0]
        ends = np.cumsum([len(p) for p in patches])
        return [frames.copy() for frames in np.split(values, ends[:-1])]

    def tuning(self) -> Tuning:
        """The network as `finetune` fits it: one block for each layer up to the stored one."""
        from torch import nn

        module = nn.Module()
        layers: dict[int, list[nn.Parameter]] = {}
        for name, tensor in self.parameters.items():
            self.parameters[name] = parameter = nn.Parameter(tensor)
            module.register_parameter(name.replace(".", "/"), parameter)
            number = re.search(r"\d+", name)
            if number and int(number[0]) <= self.numbers[0]:
                layers.setdefault(int(number[0]), []).append(parameter)
        return Tuning(
            module=module,
            dimension=self.dimension,
            blocks=tuple(Block(name=f"layer {n}", parameters=tuple(layers[n])) for n in sorted(layers)),
            pooled=self._pooled,
            save=self._save,
        )

    def _pooled(self, items: Sequence[Array] | Sequence[str]) -> torch.Tensor:
        """The mean [B, D] over the patches of each waveform."""
        import torch

        patches = self.network.front_end.batch(cast(Sequence[Array], items))
        # A copy, because tensors made in inference mode cannot take part in autograd.
        inputs = torch.cat(patches).clone().to(self.options.device)
        frames = self.network.forward(self.parameters, inputs, self.numbers)[:, 0]
        return torch.stack([of_clip.mean(0) for of_clip in torch.split(frames, [len(p) for p in patches])])

    def _save(self, folder: Path, card: Mapping[str, Any]) -> None:
        tensor_file.write(folder / WEIGHTS, self.parameters, card)


def read_checkpoint(file: TensorFile, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """A network's parameters from a checkpoint of `finetune` or `pretrain`, which keeps their names.

    Raises:
        UsageError, DataError: As `TensorFile.take`.
    """
    return {name: file.take(name, shape) for name, shape in shapes.items()}


def place(arrays: Mapping[str, Array], options: EncoderOptions) -> Tensors:
    """Parameters as tensors on the device, in its precision."""
    import torch

    dtype = getattr(torch, PRECISIONS[options.precision])
    return {name: torch.from_numpy(np.ascontiguousarray(a)).to(options.device, dtype) for name, a in arrays.items()}
