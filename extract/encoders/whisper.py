"""The encoder half of Whisper, without the frames of its padding.

Whisper reads log-Mel spectrograms of exactly 30 s. Each clip is zero-padded to that length and encoded, and the frames
(20 ms each) that begin within the clip are kept. A longer clip is encoded in consecutive pieces of 30 s whose frames
are concatenated. All pieces have one length, so no utterance depends on another one's padding.

Paper: Radford et al. 2022, https://arxiv.org/abs/2212.04356
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from emofuse.extract.audio.torchaudio_compat import import_transformers
from emofuse.extract.encoders.base import ENCODERS, Array, EncoderDefaults, EncoderOptions, EncoderSpec, Modality
from emofuse.extract.encoders.blocks.pretrained import load
from emofuse.extract.encoders.blocks.transformer_encoder import HubTransformer
from emofuse.extract.encoders.weights.locate import WeightsSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Whisper(HubTransformer, EncoderDefaults):
    """Whisper's encoder and its log-Mel feature extractor."""

    extractor: Any
    """The `WhisperFeatureExtractor`."""

    @property
    def modality(self) -> Modality:
        """Waveforms."""
        return "audio"

    @property
    def dimension(self) -> int:
        """The hidden size."""
        return int(self.pretrained.config.d_model)

    @property
    def frame_rate(self) -> float:
        """50 frames per second."""
        return self.sample_rate / self._frame_samples

    @property
    def sample_rate(self) -> int:
        """16000 Hz."""
        return int(self.extractor.sampling_rate)

    @property
    def _piece_samples(self) -> int:
        """Samples of 30 s."""
        return int(self.extractor.n_samples)

    @property
    def _frame_samples(self) -> int:
        """Samples of one frame."""
        return self._piece_samples // int(self.pretrained.config.max_source_positions)

    def identity(self) -> dict[str, Any]:
        """Weights, settings, layers, precision, the log-Mel settings and the rule for long clips."""
        return {
            "encoder": "whisper",
            "version": 1,
            **self.pretrained.identity(),
            "preprocessor": self.pretrained.weights.settings_digest("preprocessor_config.json"),
            "sample_rate": self.sample_rate,
            "long_clips": f"pieces of {self._piece_samples} samples",
        }

    def length(self, item: int | str) -> int:
        """Number of frames of a waveform of `item` samples: ceil(samples / 320), at least 1."""
        return max(1, -(-cast(int, item) // self._frame_samples))

    def encode(self, items: Sequence[Array] | Sequence[str]) -> list[Array]:
        """One array [T_i, D] or [T_i, L, D] per waveform [samples at 16 kHz, -1..1]."""
        waveforms = [cast(Array, item) for item in items]
        if not waveforms:
            return []
        size = self._piece_samples
        pieces = [[w[start : start + size] for start in range(0, max(1, len(w)), size)] for w in waveforms]
        spectrograms = self.extractor(
            [piece for pieces_of_clip in pieces for piece in pieces_of_clip],
            sampling_rate=self.sample_rate,
            return_tensors="np",
        )["input_features"]
        inputs = self.pretrained.tensor(np.asarray(spectrograms, dtype=np.float32))
        values = iter(self.pretrained.run(input_features=inputs))
        return [
            np.concatenate([next(values)[: self.length(len(piece))] for piece in pieces_of_clip])
            for pieces_of_clip in pieces
        ]


_SOURCE = WeightsSource(
    repository="openai/whisper-base",
    pretrained_on="680,000 h of transcribed speech from the web, closed (no emotion labels)",
)


def _build(options: EncoderOptions) -> Whisper:
    pretrained = load("whisper", _SOURCE, options, "whisper", "WhisperModel")
    pretrained.weights.settings("preprocessor_config.json")  # refuses a missing file with our own message
    extractor = import_transformers().WhisperFeatureExtractor.from_pretrained(
        pretrained.weights.folder, local_files_only=True
    )
    return Whisper(pretrained=pretrained, extractor=extractor)


ENCODERS.add(
    "whisper",
    "Whisper base, encoder half",
    EncoderSpec(modality="audio", feature="whisper", pretrained=True, build=_build),
)
