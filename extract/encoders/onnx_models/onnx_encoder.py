"""Models in ONNX files as encoders: a waveform in, frames out, one utterance at a time.

An ONNX file does not say how its model treats padding, so utterances are never batched. Nor does it say how many frames
the model returns for a number of samples: that is measured when the model is loaded (`frame_count.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np

from emofuse.common.errors import DataError, UsageError
from emofuse.extract.encoders.base import Array, EncoderDefaults, EncoderOptions, Modality
from emofuse.extract.encoders.onnx_models.frame_count import FrameCount, measure
from emofuse.extract.encoders.onnx_models.onnx_model import SAMPLE_RATE, NoFramesError, OnnxModel, open_model
from emofuse.extract.encoders.weights.locate import Weights

# How a tensor in ONNX's protobuf names the external file that holds its values.
_EXTERNAL_FILE = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxEncoder(EncoderDefaults):
    """One output of a model in an ONNX file; it is not `Tunable`, because it can only be run."""

    encoder: str
    """Name of the registered encoder."""
    model: OnnxModel
    dimension: int
    frames: FrameCount
    weights: Weights
    digest: str
    """xxh3_128 of the model's files."""
    pretrained_on: str
    """What the published weights were trained on."""
    options: EncoderOptions

    @property
    def modality(self) -> Modality:
        """Waveforms."""
        return "audio"

    @property
    def layers(self) -> tuple[int, ...]:
        """No layer axis: one output is stored."""
        return ()

    @property
    def frame_rate(self) -> float | None:
        """Frames per second; None where a clip gives one vector or the distance between frames varies."""
        return SAMPLE_RATE / self.frames.hop if self.frames.hop else None

    @property
    def sample_rate(self) -> int:
        """16000 Hz."""
        return SAMPLE_RATE

    def identity(self) -> dict[str, Any]:
        """The file and the output; the file contains every other setting."""
        return {
            "encoder": self.encoder,
            "version": 1,
            "weights": self.digest,
            "layers": [self.model.layer],
            "precision": self.options.precision,
            "sample_rate": SAMPLE_RATE,
            "short_clips": f"zeros up to {self.frames.least} samples",
        }

    def provenance(self) -> dict[str, Any]:
        """Library versions and the data that the published weights were trained on."""
        return {
            "libraries": {"onnxruntime": version("onnxruntime")},
            "repository": None,
            "revision": None,
            "pretrained_on": f"{self.pretrained_on}, if {self.weights.files[0].name} holds the published weights",
            "fitted_on": [],
            "device": self.options.device,
        }

    def length(self, item: int | str) -> int:
        """Number of frames of a waveform of `item` samples at 16 kHz."""
        return self.frames(cast(int, item))

    def encode(self, items: Sequence[Array] | Sequence[str]) -> list[Array]:
        """One array [T_i, D] per waveform [samples at 16 kHz, -1..1]; a vector for a whole clip is one frame.

        Raises:
            DataError: The model fails, or its number of frames depends on more than the number of samples.
            MemoryError: ONNX Runtime cannot allocate memory.
        """
        return [self._encode(cast(Array, item)) for item in items]

    def _encode(self, waveform: Array) -> Array:
        padded = np.pad(waveform, (0, max(0, self.frames.least - len(waveform))))
        try:
            frames = self.model.frames(padded)
        except NoFramesError as error:
            if "alloc" in str(error).lower():
                raise MemoryError(str(error)) from None
            raise DataError(f"{self.weights.files[0]} fails for {len(waveform)} samples: {error}") from None
        expected = (self.length(len(waveform)), self.dimension)
        if frames.shape != expected:
            raise DataError(
                f"{self.weights.files[0]} returns {frames.shape} for {len(waveform)} samples, but other clips imply "
                f"{expected}: its number of frames depends on more than the length, which is not supported"
            )
        return frames


def load(encoder: str, path: Path, options: EncoderOptions, pretrained_on: str) -> OnnxEncoder:
    """Open a model and measure how many frames it returns.

    Args:
        encoder: Name of the registered encoder, for messages and the fingerprint.
        path: An ONNX file.
        options: The user's choices.
        pretrained_on: What the published weights were trained on.

    Raises:
        UsageError: ONNX Runtime is missing or too old, the model does not read a waveform, or an option does not fit.
        DataError: The file is damaged.
    """
    if options.precision != "fp32":
        raise UsageError(f"{path} computes in its own precision; got --precision {options.precision}, expected fp32")
    model = open_model(path, options.layers, options.device)
    failures: list[str] = []

    def count(samples: int) -> int:
        try:
            return len(model.frames(np.zeros(samples, np.float32)))
        except NoFramesError as error:
            failures.append(str(error))
            return 0

    frames = measure(count)
    if frames is None:
        why = failures[-1] if failures else "no frames"
        raise UsageError(f"{path}: output {model.layer} cannot be computed for a minute of 16 kHz audio: {why}")
    weights = Weights(folder=path.parent, files=(path, *_external_files(path)))
    return OnnxEncoder(
        encoder=encoder,
        model=model,
        dimension=model.frames(np.zeros(frames.least, np.float32)).shape[1],
        frames=frames,
        weights=weights,
        digest=weights.digest(),
        pretrained_on=pretrained_on,
        options=options,
    )


def _external_files(path: Path) -> list[Path]:
    """Files beside the model that hold some of its weights; they belong to its identity."""
    content = path.read_bytes()
    names = {content[m.end() : m.end() + m[1][0]].decode(errors="replace") for m in _EXTERNAL_FILE.finditer(content)}
    return sorted(path.parent / name for name in names if (path.parent / name).is_file())
