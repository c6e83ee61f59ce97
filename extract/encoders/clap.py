"""The audio half of CLAP (HTSAT): one embedding for each 10 s of audio.

CLAP reads windows of 10 s at 48 kHz and pools each into one vector. A shorter clip is repeated as often as it fits and
then zero-padded, as the published preprocessor does. That one cuts a random piece from a longer clip; here the clip is
encoded in consecutive windows, of which the last one ends with the clip, and gives one frame per window.

`--layers last` is the pooled output of the transformer; `projection` is its embedding in the space that CLAP shares
with texts, of unit length. Checkpoints with feature fusion see each window as a clip that is not longer than 10 s.

Papers: Wu et al. 2023, https://arxiv.org/abs/2211.06687; Chen et al. 2022 (HTSAT), https://arxiv.org/abs/2202.00874
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from emofuse.common.errors import UsageError
from emofuse.extract.audio.torchaudio_compat import import_transformers
from emofuse.extract.encoders.base import ENCODERS, Array, EncoderDefaults, EncoderOptions, EncoderSpec, Modality
from emofuse.extract.encoders.blocks.pretrained import Pretrained, load
from emofuse.extract.encoders.weights.locate import WeightsSource

OUTPUTS = ("last", "projection")
"""What `--layers` may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clap(EncoderDefaults):
    """CLAP's audio encoder and its log-Mel feature extractor."""

    pretrained: Pretrained
    extractor: Any
    """The `ClapFeatureExtractor`."""
    output: str
    """`last` or `projection`."""

    @property
    def modality(self) -> Modality:
        """Waveforms."""
        return "audio"

    @property
    def dimension(self) -> int:
        """The hidden size, or the size of the space shared with texts."""
        config = self.pretrained.config.audio_config
        return int(config.projection_dim if self.output == "projection" else config.hidden_size)

    @property
    def layers(self) -> tuple[int, ...]:
        """No layer axis."""
        return ()

    @property
    def frame_rate(self) -> float:
        """One frame per 10 s."""
        return self.sample_rate / self._window

    @property
    def sample_rate(self) -> int:
        """48000 Hz."""
        return int(self.extractor.sampling_rate)

    @property
    def _window(self) -> int:
        """Samples of 10 s."""
        return int(self.extractor.nb_max_samples)

    def identity(self) -> dict[str, Any]:
        """Weights, settings, output, precision, the log-Mel settings and the rules for short and long clips."""
        return {
            "encoder": "clap",
            "version": 1,
            **self.pretrained.identity(),
            "layers": [self.output],
            "preprocessor": self.pretrained.weights.settings_digest("preprocessor_config.json"),
            "sample_rate": self.sample_rate,
            "long_clips": f"windows of {self._window} samples, the last one ends with the clip",
        }

    def provenance(self) -> dict[str, Any]:
        """Library versions, origin of the weights, and the data that they were trained on."""
        return self.pretrained.provenance()

    def length(self, item: int | str) -> int:
        """Number of windows of a waveform of `item` samples: ceil(samples / window), at least 1."""
        return max(1, -(-cast(int, item) // self._window))

    def encode(self, items: Sequence[Array] | Sequence[str]) -> list[Array]:
        """One array [T_i, D] per waveform [samples at 48 kHz, -1..1]."""
        windows = [self._windows(cast(Array, item)) for item in items]
        if not windows:
            return []
        values = self._embed([window for of_clip in windows for window in of_clip])
        ends = np.cumsum([len(of_clip) for of_clip in windows])
        return [frames.copy() for frames in np.split(values, ends[:-1])]

    def _windows(self, waveform: Array) -> list[Array]:
        last = max(0, len(waveform) - self._window)
        starts = (min(n * self._window, last) for n in range(self.length(len(waveform))))
        return [waveform[start : start + self._window] for start in starts]

    def _embed(self, windows: Sequence[Array]) -> Array:
        """The output [N, D] of N windows."""
        import torch

        model, tensor = self.pretrained.model, self.pretrained.tensor
        spectrograms = self.extractor(list(windows), sampling_rate=self.sample_rate, return_tensors="np")
        inputs = tensor(np.asarray(spectrograms["input_features"], dtype=np.float32))
        # The extractor calls a random window longer if none is: its embedding would depend on the batch.
        longer = tensor(np.zeros((len(windows), 1), dtype=bool))
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            values = model.audio_model(input_features=inputs, is_longer=longer).pooler_output
            if self.output == "projection":
                values = torch.nn.functional.normalize(model.audio_projection(values), dim=-1)
            found: Array = values.float().cpu().numpy()
        return found


_SOURCE = WeightsSource(
    repository="laion/clap-htsat-unfused",
    licence="Apache-2.0",
    megabytes=615,
    pretrained_on="LAION-Audio-630K, AudioCaps and Clotho: audio with captions (no emotion labels)",
)


def _build(options: EncoderOptions) -> Clap:
    if options.layers not in OUTPUTS:
        raise UsageError(f"--layers is {options.layers!r}, but encoder clap expects {' or '.join(OUTPUTS)}")
    pretrained = load("clap", _SOURCE, replace(options, layers="last"), "clap", "ClapModel")
    pretrained.model.text_model = None
    pretrained.weights.settings("preprocessor_config.json")  # refuses a missing file with our own message
    extractor = import_transformers().ClapFeatureExtractor.from_pretrained(
        pretrained.weights.folder, local_files_only=True
    )
    return Clap(pretrained=pretrained, extractor=extractor, output=options.layers)


ENCODERS.add(
    "clap",
    "CLAP (HTSAT), one frame per 10 s",
    EncoderSpec(modality="audio", feature="clap", pretrained=True, build=_build, source=_SOURCE),
)
