"""The encoder half of Whisper, without the silence that it is padded with.

Whisper reads log-Mel pictures of exactly 30 s. Each clip is filled up to that with zeros, encoded, and the frames (20
ms each) that begin within the clip are kept. A clip longer than 30 s is encoded in pieces of 30 s, one after the
other, and the pieces are joined. As every piece has the same length, no utterance sees another's padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from emofuse.extract.corpus.torchaudio_compat import import_transformers
from emofuse.extract.encoders.base import ENCODERS, Array, EncoderOptions, EncoderSpec, Modality
from emofuse.extract.encoders.blocks.pretrained import Pretrained, load
from emofuse.extract.encoders.weights.locate import WeightsSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Whisper:
    """Whisper's encoder and the extractor of its log-Mel pictures."""

    base: Pretrained
    extractor: Any

    @property
    def modality(self) -> Modality:
        """Waveforms."""
        return "audio"

    @property
    def dimension(self) -> int:
        """The model's width."""
        return int(self.base.config.d_model)

    @property
    def layers(self) -> tuple[int, ...]:
        """As chosen."""
        return self.base.layers.axis

    @property
    def frame_rate(self) -> float:
        """50 Hz."""
        return self.sample_rate / self._frame_samples

    @property
    def sample_rate(self) -> int:
        """16 kHz."""
        return int(self.extractor.sampling_rate)

    @property
    def _piece(self) -> int:
        return int(self.extractor.n_samples)

    @property
    def _frame_samples(self) -> int:
        return self._piece // int(self.base.config.max_source_positions)

    def identity(self) -> dict[str, Any]:
        """Weights, settings, layers, precision, the log-Mel settings and the rule for lengths."""
        return {
            "encoder": "whisper",
            "version": 1,
            **self.base.identity(),
            "preprocessor": self.base.weights.settings_digest("preprocessor_config.json"),
            "sample_rate": self.sample_rate,
            "long_clips": f"pieces of {self._piece} samples",
        }

    def provenance(self) -> dict[str, Any]:
        """Versions, where the weights came from, and what they saw."""
        return self.base.provenance()

    def length(self, item: int | str) -> int:
        """Frames of a clip of `item` samples: ceil(samples / 320)."""
        return max(1, -(-cast(int, item) // self._frame_samples))

    def encode(self, items: Sequence[Array] | Sequence[str]) -> list[Array]:
        """One array [T_i, D] or [T_i, L, D] per waveform [samples at 16 kHz, -1..1]."""
        waveforms = [cast(Array, item) for item in items]
        if not waveforms:
            return []
        pieces = [[w[i : i + self._piece] for i in range(0, max(1, len(w)), self._piece)] for w in waveforms]
        pictures = self.extractor(
            [piece for parts in pieces for piece in parts], sampling_rate=self.sample_rate, return_tensors="np"
        )["input_features"]
        values = iter(self.base.run(input_features=self.base.tensor(np.asarray(pictures, dtype=np.float32))))
        return [np.concatenate([next(values)[: self.length(len(part))] for part in parts]) for parts in pieces]


_SOURCE = WeightsSource(
    repository="openai/whisper-base",
    pretrained_on="680,000 h of transcribed speech from the web, closed (no emotion labels)",
)


def _build(options: EncoderOptions) -> Whisper:
    base = load("whisper", _SOURCE, options, "whisper", "WhisperModel")
    base.weights.settings("preprocessor_config.json")  # a clear refusal where it is absent
    extractor = import_transformers().WhisperFeatureExtractor.from_pretrained(
        base.weights.folder, local_files_only=True
    )
    return Whisper(base=base, extractor=extractor)


ENCODERS.add(
    "whisper",
    "Whisper base, encoder half",
    EncoderSpec(modality="audio", feature="whisper", pretrained=True, build=_build),
)
