"""ONNX, by the exporter that reads `torch.export` programs: the older one, on TorchScript, is deprecated.

A `BiGRU` becomes one GRU node, which reads each sequence up to its own length in both directions.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export import Dim

from emofuse.common.disk.files import write_atomically
from emofuse.common.errors import UsageError
from emofuse.train.exporting.exported_model import ExportedModel

OPSET = 18
METADATA = "emofuse"
"""The metadata entry of the file that holds the description, as JSON."""
LARGEST = 2_000_000_000
"""Bytes; a protobuf message holds no more than 2 GiB."""


def write(path: Path, model: ExportedModel, example: Sequence[Tensor], about: Mapping[str, Any]) -> None:
    """Write the graph, with dynamic batch and lengths.

    Raises:
        UsageError: The file would be too large.
    """
    size = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    if size > LARGEST:
        raise UsageError(f"the weights take {size / 1e9:.1f} GB, and an ONNX file holds 2 GB: export one --fold")
    dynamic = [{0: Dim.DYNAMIC, 1: Dim.DYNAMIC} if x.dim() > 1 else {0: Dim.DYNAMIC} for x in example]
    with _quiet():
        program = torch.onnx.export(
            model,
            tuple(example),
            input_names=model.inputs,
            output_names=model.outputs,
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=(tuple(dynamic),),
            custom_translation_table={torch.ops.emofuse.bigru.default: _bigru},
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props[METADATA] = json.dumps(about)
    program.model.producer_name = "emofuse"
    write_atomically(path, program.model_proto.SerializeToString())


def open_file(path: Path) -> Callable[[Sequence[Tensor]], list[NDArray[np.float32]]]:
    """ONNX Runtime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]

    def run(inputs: Sequence[Tensor]) -> list[NDArray[np.float32]]:
        feeds = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
        found: list[NDArray[np.float32]] = session.run(None, feeds)
        return found

    return run


def _bigru(x: Any, lengths: Any, weights: Sequence[Any]) -> Any:
    """The operator of `models/blocks/recurrence_operator.py` as ONNX's GRU, whose gates are update, reset, new."""
    from onnxscript import opset18

    op: Any = opset18  # typed for ONNX functions, while this builds a graph
    hidden = weights[1].shape[1]
    order = np.concatenate([np.arange(hidden, 2 * hidden), np.arange(hidden), np.arange(2 * hidden, 3 * hidden)])
    reordered = [op.Gather(w, op.Constant(value_ints=order.tolist()), axis=0) for w in weights]

    def both(name: int) -> Any:
        forward, backward = (op.Unsqueeze(reordered[side + name], [0]) for side in (0, 4))
        return op.Concat(forward, backward, axis=0)

    states, _ = op.GRU(
        op.Transpose(x, perm=[1, 0, 2]),
        both(0),
        both(1),
        op.Concat(both(2), both(3), axis=1),
        op.Cast(lengths, to=6),  # int32
        direction="bidirectional",
        hidden_size=hidden,
        linear_before_reset=1,
    )
    return op.Reshape(op.Transpose(states, perm=[2, 0, 1, 3]), [0, 0, -1])  # [T, 2, B, H] -> [B, T, 2 H]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on itself, which a user can do nothing about."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
