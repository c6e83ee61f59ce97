"""The encoder half of Whisper, without the frames of its padding.

Whisper reads log-Mel spectrograms of exactly 30 s. Each clip is zero-padded to that length and encoded, and the frames
(20 ms each) that begin within the clip are kept. A longer clip is encoded in consecutive pieces of 30 s whose frames
are concatenated. All pieces have one length, so no utterance depends on another one's padding.

With `--window clip` the window ends with the clip, at the next half second, and Whisper's positions are cut to it:
several times faster, but Whisper was not trained on such windows, so it is a feature of its own. Only pieces with
windows of one length share a batch.

Paper: Radford et al. 2022, https://arxiv.org/abs/2212.04356
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from emofuse.extract.audio.torchaudio_compat import import_transformers
from emofuse.extract.encoders.base import ENCODERS, Array, EncoderDefaults, EncoderOptions, EncoderSpec, Modality
from emofuse.extract.encoders.blocks.pretrained import load
from emofuse.extract.encoders.blocks.transformer_encoder import HubTransformer
from emofuse.extract.encoders.weights.locate import WeightsSource

CLIP = "clip"
WINDOW_STEP = 0.5
"""Seconds: a clip's window is the next multiple of this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whisper(HubTransformer, EncoderDefaults):
    """Whisper's encoder and its log-Mel feature extractor."""

    extractor: Any
    """The `WhisperFeatureExtractor`."""
    window: str | None
    """`clip`, or None for windows of 30 s."""

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
            **({"window": f"the clip, to {WINDOW_STEP} s"} if self.window == CLIP else {}),
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
        values = iter(self._encode_pieces([piece for pieces_of_clip in pieces for piece in pieces_of_clip]))
        return [
            np.concatenate([next(values)[: self.length(len(piece))] for piece in pieces_of_clip])
            for pieces_of_clip in pieces
        ]

    def _encode_pieces(self, pieces: Sequence[Array]) -> list[Array]:
        """The frames of each piece, with those of its padding."""
        windows = [self._window_samples(len(piece)) for piece in pieces]
        encoded: dict[int, Array] = {}
        for window in sorted(set(windows)):
            of_window = [n for n, size in enumerate(windows) if size == window]
            encoded |= zip(of_window, self._encode_windows([pieces[n] for n in of_window], window), strict=True)
        return [encoded[n] for n in range(len(pieces))]

    def _window_samples(self, samples: int) -> int:
        if self.window != CLIP:
            return self._piece_samples
        step = min(round(WINDOW_STEP * self.sample_rate), self._piece_samples)
        return min(self._piece_samples, step * max(1, -(-samples // step)))

    def _encode_windows(self, pieces: Sequence[Array], samples: int) -> Array:
        """The frames [B, T, ...] of pieces that are padded to one length."""
        spectrograms = self.extractor(
            list(pieces), sampling_rate=self.sample_rate, max_length=samples, return_tensors="np"
        )["input_features"]
        inputs = self.pretrained.tensor(np.asarray(spectrograms, dtype=np.float32))
        with _first_positions(self.pretrained.model, samples // self._frame_samples):
            return self.pretrained.run(input_features=inputs)


@contextmanager
def _first_positions(model: Any, count: int) -> Iterator[None]:
    """Whisper's encoder with its first `count` positions, for inputs of that many frames."""
    whole, size = model.embed_positions, model.config.max_source_positions
    if count == size:
        yield
        return
    import torch

    model.embed_positions = torch.nn.Embedding(count, whole.embedding_dim, _weight=whole.weight[:count])
    model.config.max_source_positions = count  # the model compares the length of its input with this
    try:
        yield
    finally:
        model.embed_positions, model.config.max_source_positions = whole, size


_SOURCE = WeightsSource(
    repository="openai/whisper-base",
    licence="Apache-2.0",
    megabytes=290,
    pretrained_on="680,000 h of transcribed speech from the web, closed (no emotion labels)",
)


def _build(options: EncoderOptions) -> Whisper:
    pretrained = load("whisper", _SOURCE, options, "whisper", "WhisperModel")
    pretrained.weights.settings("preprocessor_config.json")  # refuses a missing file with our own message
    extractor = import_transformers().WhisperFeatureExtractor.from_pretrained(
        pretrained.weights.folder, local_files_only=True
    )
    return Whisper(pretrained=pretrained, extractor=extractor, window=options.window)


ENCODERS.add(
    "whisper",
    "Whisper base, encoder half",
    EncoderSpec(modality="audio", feature="whisper", pretrained=True, build=_build, source=_SOURCE, windows=(CLIP,)),
)
