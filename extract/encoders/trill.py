"""TRILL: speech embeddings learned without labels, which bring moments close in time close together.

The weight file decides which network runs. An ONNX file is a converted published model (TRILL, distilled TRILL, FRILL
or TRILLsson). A safetensors file is a smaller network that `emofuse pretrain trill` fitted to a folder of audio; its
layers are numbered as YAMNet's are.

Papers: Shor et al. 2020, https://arxiv.org/abs/2002.12764; Peplinski et al. 2021, https://arxiv.org/abs/2011.04609;
Shor and Venugopalan 2022, https://arxiv.org/abs/2203.00236
"""

from __future__ import annotations

from functools import partial

from emofuse.common.disk import tensor_file
from emofuse.common.errors import UsageError
from emofuse.extract.encoders.base import ENCODERS, Encoder, EncoderOptions, EncoderSpec
from emofuse.extract.encoders.blocks.options import check_options
from emofuse.extract.encoders.blocks.patch_encoder import PatchNetwork, read_checkpoint
from emofuse.extract.encoders.networks import trill_network
from emofuse.extract.encoders.weights.file_formats import kind_of
from emofuse.extract.encoders.weights.locate import WeightsSource
from emofuse.extract.encoders.weights.tensors import TensorFile, find_file, read_tensors

FORMAT = "emofuse-trill-1"
"""The `format` in the card of a checkpoint of `emofuse pretrain trill`."""
_UNFINISHED = ("emofuse-pretraining-", "emofuse-finetuning-")
"""How the `format` of a training checkpoint begins."""
_SUFFIXES = (".onnx", ".safetensors")
_HINT = (
    "convert a published TRILL, FRILL or TRILLsson model to ONNX (`emofuse help encoders`) and pass it as --weights "
    "model.onnx, or train your own weights on any folder of audio with `emofuse pretrain trill --audio FOLDER` and "
    "pass the run folder as --weights RUN"
)


def _build(options: EncoderOptions) -> Encoder:
    check_options(options)
    path = find_file("trill", options.weights, _SUFFIXES, _HINT)
    if path.suffix.lower() == ".onnx" and path.stat().st_size and kind_of(path) is None:
        from emofuse.extract.encoders.onnx_models.onnx_encoder import load

        return load("trill", path, options, "AudioSet's speech or larger collections, without labels of emotion")
    network = _network(_dimension(read_tensors(path, "trill", _HINT)))
    return network.load(options, network.outputs.choose(options.layers), (path,))


def _dimension(file: TensorFile) -> int:
    """D of the last layer of a network that `emofuse pretrain` or `finetune` wrote.

    Raises:
        UsageError: The file is of another kind, or the checkpoint of an unfinished run.
    """
    if file.kind != "safetensors":
        raise UsageError(
            f"{file.path}: encoder trill reads .onnx and the .safetensors of `emofuse pretrain trill`, not {file.kind}"
            f"{file.guess()}; {_HINT}"
        )
    if str(tensor_file.read_metadata(file.path).get("format", "")).startswith(_UNFINISHED):
        raise UsageError(
            f"{file.path} is the training checkpoint of an unfinished run: repeat the command of that run to finish it"
        )
    last = file.find(trill_network.LAST)
    width = file.tensors[last].shape[0] if last else 0
    return width if width in trill_network.DIMENSIONS else trill_network.DIMENSIONS[0]


def _network(dimension: int) -> PatchNetwork:
    """The network of that dimension; a file of another shape is refused when its weights are read."""
    return PatchNetwork(
        encoder="trill",
        front_end=trill_network.FRONT_END,
        outputs=trill_network.outputs(dimension),
        forward=trill_network.forward,
        suffixes=_SUFFIXES,
        read_weights=partial(read_checkpoint, shapes=trill_network.shapes(dimension)),
        hint=_HINT,
        pretrained_on="audio without labels, by `emofuse pretrain trill`",
    )


_PUBLISHED = WeightsSource(
    repository=None,
    pretrained_on="",
    page="https://tfhub.dev/google/nonsemantic-speech-benchmark/trill-distilled/3",
    file="model.onnx",
    licence="Apache-2.0",
)

ENCODERS.add(
    "trill",
    "TRILL; needs --weights: a published model as .onnx, or a run of `emofuse pretrain trill`",
    EncoderSpec(modality="audio", feature="trill", pretrained=True, tunable=True, build=_build, source=_PUBLISHED),
)
