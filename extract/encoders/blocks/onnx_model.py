"""A model in an ONNX file that reads a waveform: opened, its inputs and outputs checked, and run on one waveform.

ONNX Runtime: https://onnxruntime.ai/docs/api/python/api_summary.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from emofuse.common.errors import DataError, UnknownNameError, UsageError
from emofuse.extract.encoders.base import Array

SAMPLE_RATE = 16000
_FLOAT = "tensor(float)"
_RATES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, _FLOAT: np.float32}
_VALUES = (_FLOAT, "tensor(float16)", "tensor(double)")
_EXPECTED = (
    "expected one waveform at 16 kHz, float32 [samples] or [1, samples] of any length, and at most a scalar named "
    "sample_rate beside it"
)


class NoFramesError(Exception):
    """Why a model made no frames of a waveform."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxModel:
    """A model whose named output gives frames."""

    session: Any
    waveform: Any
    """The input for the waveform."""
    rate: Any | None
    """The input for the sampling rate, where there is one."""
    output: str
    """In full; `layer` lacks TensorFlow's `:0`."""

    @property
    def layer(self) -> str:
        """What `--layers` calls the output."""
        return _plain(self.output)

    def frames(self, waveform: Array) -> Array:
        """Frames [T, D] of a waveform [samples at 16 kHz]; a vector for all of it is one frame.

        Raises:
            NoFramesError: The model fails, or gives something else.
        """
        given = {self.waveform.name: waveform.reshape(1, -1) if len(self.waveform.shape) == 2 else waveform}
        if self.rate is not None:
            given[self.rate.name] = np.full(self.rate.shape, SAMPLE_RATE, _RATES[self.rate.type])
        try:
            found: Array = np.asarray(self.session.run([self.output], given)[0], dtype=np.float32)
        except Exception as error:  # ONNX Runtime's errors share no base of their own
            raise NoFramesError(_line(error)) from None
        if found.ndim == 3 and len(found) == 1:
            found = found[0]
        if found.ndim not in (1, 2) or not found.size:
            raise NoFramesError(f"it gives {_shape(list(found.shape))}, expected [D], [frames, D] or [1, frames, D]")
        return np.ascontiguousarray(np.atleast_2d(found))


def open_model(path: Path, layers: str, device: str) -> OnnxModel:
    """Open a model.

    Args:
        path: An ONNX file.
        layers: The output; `last`: the one called `embedding`, else the only one.
        device: As torch names it.

    Raises:
        UsageError: ONNX Runtime is absent or cannot run it there, or the model has other inputs or outputs.
        DataError: The file is damaged.
    """
    if find_spec("onnxruntime") is None:
        raise UsageError(f"{path} needs onnxruntime, which is not installed here: pip install 'emofuse[onnx]'")
    session = _session(path, device)
    waveform, rate = _inputs(path, session.get_inputs())
    return OnnxModel(session=session, waveform=waveform, rate=rate, output=_output(path, session.get_outputs(), layers))


def _session(path: Path, device: str) -> Any:
    import onnxruntime
    import torch

    provider = "CUDAExecutionProvider" if device.startswith("cuda") else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise UsageError(
            f"this onnxruntime cannot use {device}: pass --device cpu, or pip install onnxruntime-gpu in its place"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # what OMP_NUM_THREADS sets for every other encoder
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # what goes wrong is said once, by us
    number = device.partition(":")[2] or "0"
    chosen = [(provider, {"device_id": number})] if device.startswith("cuda") else [provider]
    try:
        return onnxruntime.InferenceSession(path, options, providers=chosen)
    except Exception as error:  # as in `frames`
        if type(error).__name__ == "NotImplemented":
            ours = f"onnxruntime {version('onnxruntime')}"
            raise UsageError(f"{path}: {ours} lacks an operator of this model: {_line(error)}") from None
        raise DataError(f"{path} is damaged or no ONNX model: {_line(error)}; convert it again") from None


def _inputs(path: Path, inputs: Sequence[Any]) -> tuple[Any, Any | None]:
    """The input for the waveform, and the one for its sampling rate where there is one."""
    rates = [i for i in inputs if i.type in _RATES and i.shape in ([], [1]) and "rate" in i.name.lower()]
    waveforms = [i for i in inputs if i not in rates and i.type == _FLOAT and _takes_waveform(i.shape)]
    if len(waveforms) != 1 or len(rates) > 1 or len(inputs) > len(waveforms) + len(rates):
        held = ", ".join(f"{_plain(i.name)} {i.type[7:-1]} {_shape(i.shape)}" for i in inputs) or "none"
        raise UsageError(f"{path} has the inputs {held}; {_EXPECTED}")
    return waveforms[0], rates[0] if rates else None


def _takes_waveform(shape: list[Any]) -> bool:
    free = len(shape) in (1, 2) and not isinstance(shape[-1], int)
    return free and (len(shape) == 1 or shape[0] == 1 or not isinstance(shape[0], int))


def _output(path: Path, outputs: Sequence[Any], words: str) -> str:
    """The full name of the output that `--layers` names."""
    names = {_plain(o.name): o for o in outputs}
    wanted = words
    if words == "last":
        wanted = "embedding" if "embedding" in names else next(iter(names)) if len(names) == 1 else ""
        if not wanted:
            raise UsageError(f"{path} has several outputs, none called embedding: --layers {' or '.join(names)}")
    if wanted not in names:
        raise UnknownNameError(f"output of {path}", wanted, names, "Name one of them as --layers.")
    if names[wanted].type not in _VALUES:
        raise UsageError(
            f"{path}: output {wanted} is {names[wanted].type[7:-1]}, expected float; name another --layers"
        )
    return str(names[wanted].name)


def _plain(name: str) -> str:
    return name.removesuffix(":0")


def _shape(shape: list[Any]) -> str:
    return f"[{', '.join('?' if n is None else str(n) for n in shape)}]"


def _line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
