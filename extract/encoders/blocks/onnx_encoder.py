"""Models in ONNX files as encoders: they turn a waveform into frames, one utterance at a time.

What such a model makes of padding nobody knows, so none is ever added to a batch. How many frames it gives for how many
samples the file does not say either: the model is asked (`_frames`).
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
from emofuse.extract.encoders.base import Array, EncoderOptions, Modality
from emofuse.extract.encoders.blocks.frame_count import FrameCount, measured
from emofuse.extract.encoders.blocks.onnx_model import SAMPLE_RATE, NoFramesError, OnnxModel, open_model
from emofuse.extract.encoders.weights.locate import Weights

# How a tensor in ONNX's protobuf names the file beside the model that holds its values.
_OUTSIDE = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxEncoder:
    """A model in an ONNX file whose named output is stored; it has no `tuning`, since it can only be run."""

    encoder: str
    model: OnnxModel
    dimension: int
    frames: FrameCount
    weights: Weights
    digest: str
    pretrained_on: str
    options: EncoderOptions

    @property
    def modality(self) -> Modality:
        """Waveforms."""
        return "audio"

    @property
    def layers(self) -> tuple[int, ...]:
        """None: one output is stored."""
        return ()

    @property
    def frame_rate(self) -> float | None:
        """Frames per second; none where a clip gives one vector, or frames keep no even distance."""
        return SAMPLE_RATE / self.frames.hop if self.frames.hop else None

    @property
    def sample_rate(self) -> int:
        """16 kHz."""
        return SAMPLE_RATE

    def identity(self) -> dict[str, Any]:
        """The file and the output; a model in ONNX carries every other setting."""
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
        """Versions, and what the published weights saw."""
        return {
            "libraries": {"onnxruntime": version("onnxruntime")},
            "repository": None,
            "revision": None,
            "pretrained_on": f"{self.pretrained_on}, if {self.weights.files[0].name} holds the published weights",
            "fitted_on": [],
            "device": self.options.device,
        }

    def length(self, item: int | str) -> int:
        """Frames of a clip of `item` samples at 16 kHz."""
        return self.frames(cast(int, item))

    def encode(self, items: Sequence[Array] | Sequence[str]) -> list[Array]:
        """One array [T_i, D] per waveform [samples at 16 kHz, -1..1]; a vector for a whole clip is one frame.

        Raises:
            DataError: The model's frames depend on more than the number of samples.
        """
        return [self._encode(cast(Array, item)) for item in items]

    def _encode(self, waveform: Array) -> Array:
        filled = np.pad(waveform, (0, max(0, self.frames.least - len(waveform))))
        try:
            found = self.model.frames(filled)
        except NoFramesError as error:
            if "alloc" in str(error).lower():
                raise MemoryError(str(error)) from None
            raise DataError(f"{self.weights.files[0]} fails for {len(waveform)} samples: {error}") from None
        expected = (self.length(len(waveform)), self.dimension)
        if found.shape != expected:
            raise DataError(
                f"{self.weights.files[0]} gives {found.shape} for {len(waveform)} samples, expected {expected} by what "
                "it gave for other clips: its frames depend on more than the length, which a store cannot hold"
            )
        return found


def load(encoder: str, path: Path, options: EncoderOptions, pretrained_on: str) -> OnnxEncoder:
    """Open a model and find out how many frames it gives.

    Args:
        encoder: Its name, for messages and the fingerprint.
        path: An ONNX file.
        options: What the user chose.
        pretrained_on: What the published weights were trained on.

    Raises:
        UsageError: ONNX Runtime is absent or too old, the model takes something else than a waveform, or an option
            does not fit it.
        DataError: The file is damaged.
    """
    if options.precision != "fp32":
        raise UsageError(f"{path} computes in its own precision; got --precision {options.precision}, expected fp32")
    model = open_model(path, options.layers, options.device)
    said: list[str] = []

    def ask(samples: int) -> int:
        try:
            return len(model.frames(np.zeros(samples, np.float32)))
        except NoFramesError as error:
            said.append(str(error))
            return 0

    frames = measured(ask)
    if frames is None:
        why = said[-1] if said else "no frames"
        raise UsageError(f"{path}: output {model.layer} cannot be had for a minute of 16 kHz audio: {why}")
    held = Weights(folder=path.parent, files=(path, *_outside(path)))
    return OnnxEncoder(
        encoder=encoder,
        model=model,
        dimension=model.frames(np.zeros(frames.least, np.float32)).shape[1],
        frames=frames,
        weights=held,
        digest=held.digest(),
        pretrained_on=pretrained_on,
        options=options,
    )


def _outside(path: Path) -> list[Path]:
    """Files beside the model that hold some of its weights: they belong to its identity."""
    content = path.read_bytes()
    names = {content[m.end() : m.end() + m[1][0]].decode(errors="replace") for m in _OUTSIDE.finditer(content)}
    return sorted(path.parent / name for name in names if (path.parent / name).is_file())
