"""A model in an ONNX file that reads a waveform: opening it, checking its inputs and outputs, and running it.

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
from emofuse.extract.encoders.weights.messages import first_line

SAMPLE_RATE = 16000
"""Hz."""
_FLOAT = "tensor(float)"
# Types that are accepted for the sampling rate, and for the output.
_RATES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, _FLOAT: np.float32}
_VALUES = (_FLOAT, "tensor(float16)", "tensor(double)")
_EXPECTED = (
    "expected one waveform at 16 kHz, float32 [samples] or [1, samples] of any length, and at most a scalar named "
    "sample_rate beside it"
)


class NoFramesError(Exception):
    """A model returned no frames for a waveform; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxModel:
    """A loaded model and its output that gives frames."""

    session: Any
    """The `onnxruntime.InferenceSession`."""
    waveform: Any
    """The input for the waveform."""
    rate: Any | None
    """The input for the sampling rate; None where the model has none."""
    output: str
    """Full name of the output, with TensorFlow's suffix `:0`."""

    @property
    def layer(self) -> str:
        """Name of the output for `--layers`."""
        return _plain(self.output)

    def frames(self, waveform: Array) -> Array:
        """Frames [T, D] of a waveform [samples at 16 kHz]; a vector for the whole waveform is one frame.

        Raises:
            NoFramesError: The model fails, or its output has another shape.
        """
        inputs = {self.waveform.name: waveform.reshape(1, -1) if len(self.waveform.shape) == 2 else waveform}
        if self.rate is not None:
            inputs[self.rate.name] = np.full(self.rate.shape, SAMPLE_RATE, _RATES[self.rate.type])
        try:
            values: Array = np.asarray(self.session.run([self.output], inputs)[0], dtype=np.float32)
        except Exception as error:  # the errors of ONNX Runtime have no common base class
            raise NoFramesError(first_line(error)) from None
        if values.ndim == 3 and len(values) == 1:
            values = values[0]
        if values.ndim not in (1, 2) or not values.size:
            raise NoFramesError(f"it gives {_shape(list(values.shape))}, expected [D], [frames, D] or [1, frames, D]")
        return np.ascontiguousarray(np.atleast_2d(values))


def open_model(path: Path, layers: str, device: str) -> OnnxModel:
    """Open a model.

    Args:
        path: An ONNX file.
        layers: Name of the output; `last` means the one called `embedding`, else the only one.
        device: A torch device name.

    Raises:
        UsageError: ONNX Runtime is missing or cannot run it on the device, or the model has other inputs or outputs.
        DataError: The file is damaged.
    """
    if find_spec("onnxruntime") is None:
        raise UsageError(f"{path} needs onnxruntime, which is not installed: pip install 'emofuse[onnx]'")
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
    options.intra_op_num_threads = torch.get_num_threads()  # OMP_NUM_THREADS, as for every other encoder
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # errors are raised below; the log would repeat them
    number = device.partition(":")[2] or "0"
    providers = [(provider, {"device_id": number})] if device.startswith("cuda") else [provider]
    try:
        return onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # as in `frames`
        if type(error).__name__ == "NotImplemented":
            runtime = f"onnxruntime {version('onnxruntime')}"
            raise UsageError(f"{path}: {runtime} has no operator that this model needs: {first_line(error)}") from None
        raise DataError(f"{path} is damaged or not an ONNX model: {first_line(error)}; convert it again") from None


def _inputs(path: Path, inputs: Sequence[Any]) -> tuple[Any, Any | None]:
    """The input for the waveform, and the one for its sampling rate or None."""
    rates = [i for i in inputs if i.type in _RATES and i.shape in ([], [1]) and "rate" in i.name.lower()]
    waveforms = [i for i in inputs if i not in rates and i.type == _FLOAT and _takes_waveform(i.shape)]
    if len(waveforms) != 1 or len(rates) > 1 or len(inputs) > len(waveforms) + len(rates):
        names = ", ".join(f"{_plain(i.name)} {i.type[7:-1]} {_shape(i.shape)}" for i in inputs) or "none"
        raise UsageError(f"{path} has the inputs {names}; {_EXPECTED}")
    return waveforms[0], rates[0] if rates else None


def _takes_waveform(shape: list[Any]) -> bool:
    """Whether a shape is [samples] or [1, samples] with a free number of samples."""
    free = len(shape) in (1, 2) and not isinstance(shape[-1], int)
    return free and (len(shape) == 1 or shape[0] == 1 or not isinstance(shape[0], int))


def _output(path: Path, outputs: Sequence[Any], layers: str) -> str:
    """The full name of the output that `--layers` names."""
    names = {_plain(o.name): o for o in outputs}
    wanted = layers
    if layers == "last":
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
