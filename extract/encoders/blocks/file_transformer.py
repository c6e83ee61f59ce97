"""Encoders over a transformer whose weights come in one file: loading, the forward pass and fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

import numpy as np

from emofuse.common.disk import tensor_file
from emofuse.extract.encoders.base import Array, EncoderDefaults, EncoderOptions, Modality
from emofuse.extract.encoders.blocks.layer_choice import LayerChoice, choose_layers
from emofuse.extract.encoders.blocks.options import check_options
from emofuse.extract.encoders.blocks.patch_encoder import place
from emofuse.extract.encoders.blocks.tuning import WEIGHTS, Block, Tuning
from emofuse.extract.encoders.weights.locate import Weights
from emofuse.extract.encoders.weights.tensors import TensorFile, find_file, read_tensors

if TYPE_CHECKING:
    import torch

    from emofuse.extract.encoders.blocks.patch_encoder import Tensors

SAMPLE_RATE = 16000
"""Hz."""
SUFFIXES = (".pt", ".pth", ".safetensors")
"""Suffixes of the weight files."""


class TransformerNetwork(Protocol):
    """A network over waveforms at 16 kHz."""

    @property
    def dimension(self) -> int:
        """D."""

    @property
    def depth(self) -> int:
        """Number of transformer layers."""

    @property
    def frame_samples(self) -> int:
        """Samples from one frame to the next."""

    def identity(self) -> dict[str, Any]:
        """What changes the values beside the weights, JSON-ready."""

    def frames(self, samples: int) -> int:
        """Frames of a clip of `samples`, at least 1."""

    def prepare(self, waveform: Array) -> Array:
        """What the network reads, [N, ...], of a waveform [samples]; computed on the CPU."""

    def layer_of(self, name: str) -> int:
        """The number of the transformer layer that a parameter belongs to; 0 for what lies before them."""

    def states(
        self, weights: Tensors, inputs: torch.Tensor, sizes: Sequence[int], numbers: Sequence[int]
    ) -> torch.Tensor:
        """The layers `numbers`, [B, T, L, D], of zero-padded inputs [B, N, ...], whose item i has `sizes[i]` rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """Where the weights of an encoder come from, and what they have seen."""

    encoder: str
    """Name of the registered encoder."""
    read: Callable[[TensorFile], tuple[TransformerNetwork, dict[str, Array]]]
    """A weight file -> the network of its sizes, and the parameters by name."""
    hint: str
    """Where to get weights; the end of messages about missing ones."""
    pretrained_on: str
    """What the published weights were trained on."""
    fitted_on: Callable[[TensorFile], list[dict[str, Any]]]
    """The corpora that published weights have seen; a safetensors file without our card may have seen any."""

    def build(self, options: EncoderOptions) -> FileTransformer:
        """Load the weights that the options name.

        Raises:
            UsageError: An option that cannot work, missing weights, or another network's weights.
            DataError: The weights are damaged.
        """
        check_options(options)
        path = find_file(self.encoder, options.weights, SUFFIXES, self.hint)
        file = read_tensors(path, self.encoder, self.hint)
        network, arrays = self.read(file)
        weights = Weights(folder=path.parent, files=(path,))
        return FileTransformer(
            source=self,
            network=network,
            choice=choose_layers(options.layers, network.depth),
            parameters=place(arrays, options),
            weights=weights,
            digest=weights.digest(),
            seen=tuple(self.fitted_on(file) if file.kind == "torch" else [_UNKNOWN]),
            options=options,
        )


_UNKNOWN = {"corpus": "unknown", "labels": True, "about": "the checkpoint does not say what it was fitted on"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTransformer(EncoderDefaults):
    """A loaded network."""

    source: FileSource
    network: TransformerNetwork
    choice: LayerChoice
    parameters: Tensors
    """On the device, by name; `tuning` replaces them by trainable ones."""
    weights: Weights
    digest: str
    """xxh3_128 of the weight file."""
    seen: tuple[Mapping[str, Any], ...]
    """Entries of `fitted_on`, where the file has no card."""
    options: EncoderOptions

    @property
    def modality(self) -> Modality:
        """Waveforms."""
        return "audio"

    @property
    def dimension(self) -> int:
        """The hidden size."""
        return self.network.dimension

    @property
    def layers(self) -> tuple[int, ...]:
        """The chosen layers; empty for a single layer or a mean."""
        return self.choice.axis

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return SAMPLE_RATE / self.network.frame_samples

    @property
    def sample_rate(self) -> int:
        """16000 Hz."""
        return SAMPLE_RATE

    def identity(self) -> dict[str, Any]:
        """Weights, layers, precision and how waveforms are prepared."""
        return {
            "encoder": self.source.encoder,
            "version": 1,
            "weights": self.digest,
            "layers": self.choice.identity,
            "precision": self.options.precision,
            "sample_rate": SAMPLE_RATE,
            **self.network.identity(),
        }

    def provenance(self) -> dict[str, Any]:
        """Library versions, origin of the weights, and the data that they were trained on."""
        return {
            "libraries": {"torch": version("torch")},
            "repository": None,
            "revision": None,
            "pretrained_on": f"{self.source.pretrained_on}, if {self.weights.files[0].name} holds published weights",
            "fitted_on": [dict(entry) for entry in self.seen],
            **self.weights.card(),
            "device": self.options.device,
        }

    def length(self, item: int | str) -> int:
        """Number of frames of a waveform of `item` samples at 16 kHz."""
        return self.network.frames(cast(int, item))

    def encode(self, items: Sequence[Array] | Sequence[str]) -> list[Array]:
        """One array [T_i, D] or [T_i, L, D] per waveform [samples at 16 kHz, -1..1]."""
        import torch

        waveforms = [cast(Array, item) for item in items]
        if not waveforms:
            return []
        # TF32 rounds depending on the shape, so that a feature would depend on its batch.
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            states = self._states(waveforms, self.choice.numbers).float()
            chosen = states.mean(dim=2) if self.choice.mean else states if self.choice.axis else states[:, :, 0]
            values = chosen.cpu().numpy()
        return [row[: self.length(len(w))].copy() for row, w in zip(values, waveforms, strict=True)]

    def with_all_layers(self) -> Self:
        """The same network with every layer on the layer axis."""
        return replace(self, choice=choose_layers("all", self.network.depth))

    def select_layers(self, values: Array) -> Array:
        """The chosen layers, [T, D] or [T, L, D], of the values of all layers, [T, all layers, D]."""
        return self.choice.select(values)

    def tuning(self) -> Tuning:
        """The network as `finetune` fits it: what lies before the transformer layers, then each layer."""
        from torch import nn

        module = nn.Module()
        blocks: dict[int, list[nn.Parameter]] = {}
        for name, tensor in self.parameters.items():
            self.parameters[name] = parameter = nn.Parameter(tensor)
            module.register_parameter(name.replace(".", "/"), parameter)
            blocks.setdefault(self.network.layer_of(name), []).append(parameter)
        return Tuning(
            module=module,
            dimension=self.dimension,
            blocks=tuple(
                Block(name=f"layer {n}" if n else "front end", parameters=tuple(blocks[n])) for n in sorted(blocks)
            ),
            pooled=self._pooled,
            save=self._save,
        )

    def _pooled(self, items: Sequence[Array] | Sequence[str]) -> torch.Tensor:
        """The mean [B, D] over the frames of each waveform."""
        import torch

        waveforms = [cast(Array, item) for item in items]
        states = self._states(waveforms, (self.network.depth,))[:, :, 0]
        return torch.stack([row[: self.length(len(w))].mean(0) for row, w in zip(states, waveforms, strict=True)])

    def _save(self, folder: Path, card: Mapping[str, Any]) -> None:
        tensor_file.write(folder / WEIGHTS, self.parameters, card)

    def _states(self, waveforms: Sequence[Array], numbers: Sequence[int]) -> torch.Tensor:
        """The layers `numbers`, [B, T, L, D], of waveforms; beyond the frames of an utterance they have no meaning."""
        import torch

        prepared = [self.network.prepare(waveform) for waveform in waveforms]
        sizes = [len(rows) for rows in prepared]
        padded = np.zeros((len(prepared), max(sizes), *prepared[0].shape[1:]), dtype=np.float32)
        for row, rows in zip(padded, prepared, strict=True):
            row[: len(rows)] = rows
        inputs = torch.from_numpy(padded).to(self.options.device, next(iter(self.parameters.values())).dtype)
        return self.network.states(self.parameters, inputs, sizes, numbers)
