"""TRILL: speech embeddings learned without labels, from which moments lie close together in time.

The weights decide which network it is. An ONNX file is one of the published models (TRILL, distilled TRILL, FRILL,
TRILLsson), converted; a safetensors file is a smaller network that `emofuse pretrain trill` fitted to a folder of
audio, whose layers are numbered as YAMNet's are.

Papers: Shor et al. 2020, https://arxiv.org/abs/2002.12764; Peplinski et al. 2021, https://arxiv.org/abs/2011.04609;
Shor and Venugopalan 2022, https://arxiv.org/abs/2203.00236
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from emofuse.common.disk import tensor_file
from emofuse.common.errors import UsageError
from emofuse.extract.encoders.base import ENCODERS, Encoder, EncoderOptions, EncoderSpec
from emofuse.extract.encoders.blocks import trill_network
from emofuse.extract.encoders.blocks.patch_encoder import PatchEncoder, own_tensors, place
from emofuse.extract.encoders.blocks.pretrained import check_options
from emofuse.extract.encoders.weights.file_formats import kind_of
from emofuse.extract.encoders.weights.locate import Weights
from emofuse.extract.encoders.weights.tensors import TensorFile, find_file, read_tensors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMAT = "emofuse-trill-1"
"""What a checkpoint of `emofuse pretrain trill` calls itself."""
_STATES = ("emofuse-pretraining-", "emofuse-finetuning-")
_ADVICE = (
    "convert a published TRILL, FRILL or TRILLsson model to ONNX (docs/encoders.md) and pass it as --weights "
    "model.onnx, or make weights of your own from any folder of audio with `emofuse pretrain trill --audio FOLDER` and "
    "pass the run folder as --weights RUN"
)


def read_weights(file: TensorFile) -> tuple[int, dict[str, NDArray[np.float32]]]:
    """The dimension and the tensors of a network that `emofuse pretrain` or `finetune` wrote.

    Raises:
        UsageError: A tensor is missing or of another shape: another network's weights.
        DataError: Damaged values.
    """
    if file.kind != "safetensors":
        raise UsageError(
            f"{file.path}: encoder trill reads .onnx and the .safetensors of `emofuse pretrain trill`, not {file.kind}"
            f"{file.looks()}; {_ADVICE}"
        )
    if str(tensor_file.about(file.path).get("format", "")).startswith(_STATES):
        raise UsageError(f"{file.path} is where a run stands that is not finished: the same command goes on with it")
    last = file.find(trill_network.LAST)
    width = file.tensors[last].shape[0] if last else 0
    dimension = width if width in trill_network.DIMENSIONS else trill_network.DIMENSIONS[0]
    return dimension, own_tensors(file, trill_network.shapes(dimension))


def _build(options: EncoderOptions) -> Encoder:
    check_options(options)
    path = find_file("trill", options.weights, (".onnx", ".safetensors"), _ADVICE)
    if path.suffix.lower() == ".onnx" and path.stat().st_size and kind_of(path) is None:
        from emofuse.extract.encoders.blocks.onnx_encoder import load

        return load("trill", path, options, "AudioSet's speech or larger collections, without labels of emotion")
    return _own(path, options)


def _own(path: Path, options: EncoderOptions) -> PatchEncoder:
    dimension, tensors = read_weights(read_tensors(path, "trill", _ADVICE))
    outputs = trill_network.outputs(dimension)
    weights = place(tensors, options)
    held = Weights(folder=path.parent, files=(path,))
    return PatchEncoder(
        encoder="trill",
        front_end=trill_network.FRONT_END,
        outputs=outputs,
        chosen=outputs.choose(options.layers),
        network=trill_network.forward,
        parameters=weights,
        weights=held,
        digest=held.digest(),
        pretrained_on="audio without labels, by `emofuse pretrain trill`",
        options=options,
    )


ENCODERS.add(
    "trill",
    "TRILL; needs --weights: a published model as .onnx, or a run of `emofuse pretrain trill`",
    EncoderSpec(modality="audio", feature="trill", pretrained=True, tunable=True, build=_build),
)
