"""The interface between an encoder and `finetune`: a differentiable network in blocks from input to output."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from emofuse.common.disk import tensor_file
from emofuse.common.disk.files import write_atomically
from emofuse.common.errors import UsageError
from emofuse.extract.encoders.base import Array
from emofuse.extract.encoders.blocks.layer_choice import depth
from emofuse.extract.encoders.blocks.pretrained import Pretrained
from emofuse.extract.encoders.weights.locate import MARK

if TYPE_CHECKING:
    import torch
    from torch import nn

WEIGHTS = "model.safetensors"
MARKED = f"fine-tuned by emofuse; what it has seen is said in {WEIGHTS}"
"""Value of the key `MARK` in config.json."""
# Suffixes of what a checkpoint's folder holds beside the weights, such as tokenizers and preprocessor settings.
_SETTINGS = (".json", ".txt", ".model")
# Names that models of transformers give to the list of their layers.
_LISTS = ("layer", "layers", "block", "h")

PoolItems = Callable[[Sequence[Array] | Sequence[str]], "torch.Tensor"]
"""Waveforms [samples] or texts -> the mean over the frames that `extract` would store, [B, D], differentiable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Parameters that are unfrozen together."""

    name: str
    parameters: tuple[nn.Parameter, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """A loaded encoder whose weights can be fitted further, in float32."""

    module: nn.Module
    """Holds every parameter; `train()` enables its dropout."""
    dimension: int
    """D."""
    blocks: tuple[Block, ...]
    """From the input to the output."""
    pooled: PoolItems
    save: Callable[[Path, Mapping[str, Any]], None]
    """Writes a checkpoint and its card (`fitted_on`, ...) into a folder that `--weights` accepts."""


@runtime_checkable
class Tunable(Protocol):
    """An encoder that `finetune` can fit further."""

    def tuning(self) -> Tuning:
        """The network, which shares its weights with the encoder."""


def tune_transformer(pretrained: Pretrained, pooled: PoolItems, input_block: str) -> Tuning:
    """The tuning of a transformers model.

    Args:
        pretrained: The loaded checkpoint.
        pooled: As in `Tuning`.
        input_block: Name of the block before the transformer layers.

    Raises:
        UsageError: The model has no list of layers.
    """
    # SpecAugment and LayerDrop draw from numpy's generator, which the run's seed does not set; SpecAugment also
    # refuses short clips.
    for option, disabled in (("apply_spec_augment", False), ("layerdrop", 0.0)):
        if hasattr(pretrained.config, option):
            setattr(pretrained.model.config, option, disabled)
    return Tuning(
        module=pretrained.model,
        dimension=int(pretrained.config.hidden_size),
        blocks=_blocks(pretrained, input_block),
        pooled=pooled,
        save=lambda folder, card: _save(pretrained, folder, card),
    )


def _blocks(pretrained: Pretrained, input_block: str) -> tuple[Block, ...]:
    """Embeddings or front end first, then each transformer layer; modules after the layers belong to the last one."""
    parent, layers = _layer_list(pretrained)
    siblings = list(parent.children())
    position = next(i for i, child in enumerate(siblings) if child is layers)
    after = [p for child in siblings[position + 1 :] for p in child.parameters()]
    blocks = [tuple(layer.parameters()) for layer in layers]
    blocks[-1] = (*blocks[-1], *after)
    assigned = {id(p) for block in blocks for p in block}
    unused = {id(p) for name, p in pretrained.model.named_parameters() if name.startswith("pooler.")}
    first = tuple(p for p in pretrained.model.parameters() if id(p) not in assigned | unused)
    return (
        Block(name=input_block, parameters=first),
        *(Block(name=f"layer {n}", parameters=block) for n, block in enumerate(blocks, 1)),
    )


def _layer_list(pretrained: Pretrained) -> tuple[nn.Module, nn.ModuleList]:
    """The list of transformer layers, and the module that contains it."""
    from torch import nn

    for module in pretrained.model.modules():
        for name, child in module.named_children():
            if name in _LISTS and isinstance(child, nn.ModuleList) and len(child) == depth(pretrained.config):
                return module, child
    raise UsageError(
        f"encoder {pretrained.encoder}: {type(pretrained.model).__name__} has no list of layers that can be unfrozen"
    )


def _save(pretrained: Pretrained, folder: Path, card: Mapping[str, Any]) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        pretrained.whole.save_pretrained(temporary)
        for path in sorted(Path(temporary).glob("*.json")):
            write_atomically(folder / path.name, path.read_bytes())
        config = json.loads((folder / "config.json").read_bytes())
        write_atomically(folder / "config.json", (json.dumps({**config, MARK: MARKED}, indent=2) + "\n").encode())
        tensors, _ = tensor_file.read(Path(temporary) / WEIGHTS)
        tensor_file.write(folder / WEIGHTS, tensors, card)
    for path in sorted(pretrained.weights.folder.iterdir()):
        wanted = path.suffix in _SETTINGS and not path.name.endswith(".index.json")
        if wanted and path.is_file() and not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
