"""An encoder as `finetune` sees it: its network, differentiable, in blocks from its input to its output."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emofuse.common.disk import tensor_file
from emofuse.common.disk.files import put
from emofuse.common.errors import UsageError
from emofuse.extract.encoders.base import Array
from emofuse.extract.encoders.weights.locate import MARK

if TYPE_CHECKING:
    import torch
    from torch import nn

    from emofuse.extract.encoders.blocks.pretrained import Pretrained

WEIGHTS = "model.safetensors"
# What a checkpoint's folder holds beside the weights and config.json: the tokenizer, how waveforms are normalised.
_BESIDE = (".json", ".txt", ".model")


MARKED = f"fine-tuned by emofuse; what it has seen is said in {WEIGHTS}"
# What transformers calls the list of a model's layers.
_LISTS = ("layer", "layers", "block", "h")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Parameters that are set free together."""

    name: str
    parameters: tuple[nn.Parameter, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """A loaded encoder whose weights can be fitted further, in float32."""

    module: nn.Module
    """Holds every parameter; `train()` turns its dropout on."""
    dimension: int
    """D."""
    blocks: tuple[Block, ...]
    """From the input to the output."""
    pooled: Callable[[Sequence[Array] | Sequence[str]], torch.Tensor]
    """Waveforms [samples] or texts -> the mean over the frames that `extract` would store, [B, D], differentiable."""
    save: Callable[[Path, Mapping[str, Any]], None]
    """Write a checkpoint, and what is said about it, into a folder that `--weights` takes."""


def of_pretrained(
    base: Pretrained, pooled: Callable[[Sequence[Array] | Sequence[str]], torch.Tensor], input_block: str
) -> Tuning:
    """The tuning of a model of transformers; `input_block` is what lies before its layers."""
    for chance in ("apply_spec_augment", "layerdrop"):
        # They draw from numpy's generator, which no seed of a run sets, and the first refuses short clips.
        if hasattr(base.config, chance):
            setattr(base.model.config, chance, False if chance == "apply_spec_augment" else 0.0)
    return Tuning(
        module=base.model,
        dimension=int(base.config.hidden_size),
        blocks=_blocks(base, input_block),
        pooled=pooled,
        save=lambda folder, about: _save(base, folder, about),
    )


def _blocks(base: Pretrained, input_block: str) -> tuple[Block, ...]:
    """Embeddings or front end first, then the transformer's layers; what follows the layers belongs to the last."""
    from torch import nn

    from emofuse.extract.encoders.blocks.pretrained import depth

    found = [
        (module, child)
        for module in base.model.modules()
        for name, child in module.named_children()
        if name in _LISTS and isinstance(child, nn.ModuleList) and len(child) == depth(base.config)
    ]
    if not found:
        raise UsageError(
            f"encoder {base.encoder}: no list of layers in {type(base.model).__name__} that can be set free"
        )
    parent, layers = found[0]
    children = list(parent.children())
    after = [p for child in children[_place(children, layers) + 1 :] for p in child.parameters()]
    blocks = [tuple(layer.parameters()) for layer in layers]
    blocks[-1] = (*blocks[-1], *after)
    taken = {id(p) for block in blocks for p in block}
    unused = {id(p) for name, p in base.model.named_parameters() if name.startswith("pooler.")}
    first = tuple(p for p in base.model.parameters() if id(p) not in taken | unused)
    return (
        Block(name=input_block, parameters=first),
        *(Block(name=f"layer {n}", parameters=block) for n, block in enumerate(blocks, 1)),
    )


def _place(children: Sequence[nn.Module], wanted: nn.Module) -> int:
    return next(i for i, child in enumerate(children) if child is wanted)


def _save(base: Pretrained, folder: Path, about: Mapping[str, Any]) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as there:
        base.whole.save_pretrained(there)
        for path in sorted(Path(there).glob("*.json")):
            put(folder / path.name, path.read_bytes())
        config = json.loads((folder / "config.json").read_bytes())
        put(folder / "config.json", (json.dumps({**config, MARK: MARKED}, indent=2) + "\n").encode())
        tensors, _ = tensor_file.read(Path(there) / WEIGHTS)
        tensor_file.write(folder / WEIGHTS, tensors, about)
    for path in sorted(base.weights.folder.iterdir()):
        wanted = path.suffix in _BESIDE and not path.name.endswith(".index.json")
        if wanted and path.is_file() and not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
