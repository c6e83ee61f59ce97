"""Speech transformers that read raw waveforms: HuBERT, wav2vec 2.0, WavLM, and others on the hub.

Waveforms are normalised as the checkpoint's preprocessor_config.json says (zero mean, unit variance over the
utterance's own samples, or not at all). Frames are counted by the convolutions' arithmetic. A clip shorter than one
frame's receptive field (25 ms) is filled up with zeros to it.

HuBERT, wav2vec 2.0 and WavLM are batched: the attention mask is always passed, the library zeroes what lies beyond an
utterance before the positional convolution, and where the first convolution is normalised over time that norm is
masked (see `_groupnorm.py`). Of any other model that is not known, so only utterances of equal length share a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from emofuse.common.errors import UsageError
from emofuse.extract.encoders.base import ENCODERS, Array, EncoderOptions, EncoderSpec, Modality
from emofuse.extract.encoders.blocks.pretrained import Pretrained, load
from emofuse.extract.encoders.blocks.tuning import Tuning, of_pretrained
from emofuse.extract.encoders.weights.locate import WeightsSource

if TYPE_CHECKING:
    import torch

_MASKED = ("hubert", "wav2vec2", "wavlm")
_VARIANCE_FLOOR = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class HfAudio:
    """A raw-waveform model with a convolutional front end."""

    base: Pretrained
    normalise: bool
    sample_rate: int
    norm: Any
    """The masked group norm of the first convolution; none where the model has no norm over time."""
    batched: bool
    """Whether utterances of different lengths may share a batch."""

    @property
    def modality(self) -> Modality:
        """Waveforms."""
        return "audio"

    @property
    def dimension(self) -> int:
        """The hidden size."""
        return int(self.base.config.hidden_size)

    @property
    def layers(self) -> tuple[int, ...]:
        """As chosen."""
        return self.base.layers.axis

    @property
    def frame_rate(self) -> float:
        """50 Hz for the models named here."""
        return self.sample_rate / float(math.prod(self.base.config.conv_stride))

    def identity(self) -> dict[str, Any]:
        """Weights, settings, layers, precision and the normalisation of waveforms."""
        return {
            "encoder": "hf_audio",
            "version": 1,
            **self.base.identity(),
            "sample_rate": self.sample_rate,
            "normalise": "zero mean, unit variance" if self.normalise else "none",
            "short_clips": "zeros up to one frame",
        }

    def provenance(self) -> dict[str, Any]:
        """Versions, where the weights came from, and what they saw."""
        return self.base.provenance()

    def length(self, item: int | str) -> int:
        """Frames of a clip of `item` samples."""
        return self._frames(self._filled(cast(int, item)), len(self.base.config.conv_kernel))

    def encode(self, items: Sequence[Array] | Sequence[str]) -> list[Array]:
        """One array [T_i, D] or [T_i, L, D] per waveform [samples at 16 kHz, -1..1]."""
        return self.begin(items)()

    def begin(self, items: Sequence[Array] | Sequence[str]) -> Callable[[], list[Array]]:
        """As `encode`, but a GPU is only set to work; what is returned waits for it."""
        waveforms = [self._prepare(cast(Array, item)) for item in items]
        if self.batched:
            return self._start(waveforms)
        lengths = {len(w) for w in waveforms}
        groups = [[i for i, w in enumerate(waveforms) if len(w) == length] for length in lengths]
        started = [(which, self._start([waveforms[i] for i in which])) for which in groups]

        def finish() -> list[Array]:
            found = {i: v for which, fetch in started for i, v in zip(which, fetch(), strict=True)}
            return [found[i] for i in range(len(waveforms))]

        return finish

    def tuning(self) -> Tuning:
        """For `finetune`."""
        return of_pretrained(self.base, self._pooled, "front end")

    def _pooled(self, items: Sequence[Array] | Sequence[str]) -> torch.Tensor:
        import torch

        waveforms = [self._prepare(cast(Array, item)) for item in items]
        if not self.batched:
            return torch.cat(
                [self.base.model(**self._inputs([w])).last_hidden_state.float().mean(1) for w in waveforms]
            )
        hidden = self.base.model(**self._inputs(waveforms)).last_hidden_state.float()
        counts = self.base.tensor(np.array([self.length(len(w)) for w in waveforms]))[:, None]
        real = torch.arange(hidden.shape[1], device=hidden.device) < counts
        pooled: torch.Tensor = (hidden * real[:, :, None]).sum(1) / counts
        return pooled

    def _prepare(self, waveform: Array) -> Array:
        if self.normalise:
            mean, variance = waveform.mean(dtype=np.float64), waveform.var(dtype=np.float64)
            waveform = ((waveform - mean) / np.sqrt(variance + _VARIANCE_FLOOR)).astype(np.float32)
        return np.pad(waveform, (0, self._filled(len(waveform)) - len(waveform)))

    def _start(self, waveforms: list[Array]) -> Callable[[], list[Array]]:
        if not waveforms:
            return list
        fetch = self.base.start(**self._inputs(waveforms))
        counts = [self.length(len(w)) for w in waveforms]
        return lambda: [row[:count] for row, count in zip(fetch(), counts, strict=True)]

    def _inputs(self, waveforms: list[Array]) -> dict[str, torch.Tensor]:
        """Padded waveforms [B, samples] and their mask, on the device."""
        lengths = [len(w) for w in waveforms]
        padded = np.zeros((len(waveforms), max(lengths)), dtype=np.float32)
        for row, waveform in zip(padded, waveforms, strict=True):
            row[: len(waveform)] = waveform
        mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
        if self.norm is not None:
            self.norm.lengths = self.base.tensor(np.array([self._frames(n, 1) for n in lengths]))
        return {"input_values": self.base.tensor(padded), "attention_mask": self.base.tensor(mask.astype(np.int64))}

    def _filled(self, samples: int) -> int:
        """Samples after filling up to the receptive field of one frame."""
        field = 1
        for kernel, stride in zip(
            reversed(self.base.config.conv_kernel), reversed(self.base.config.conv_stride), strict=True
        ):
            field = (field - 1) * stride + kernel
        return max(samples, field)

    def _frames(self, samples: int, convolutions: int) -> int:
        config = self.base.config
        for kernel, stride in list(zip(config.conv_kernel, config.conv_stride, strict=True))[:convolutions]:
            samples = (samples - kernel) // stride + 1
        return samples


def build(encoder: str, source: WeightsSource, model_type: str | None, options: EncoderOptions) -> HfAudio:
    """Load a checkpoint as a raw-waveform encoder.

    Raises:
        UsageError: It reads something else than raw waveforms, or lacks its preprocessor_config.json.
    """
    base = load(encoder, source, options, model_type, "AutoModel")
    if not hasattr(base.config, "conv_kernel") or not hasattr(base.config, "conv_stride"):
        raise UsageError(
            f"{base.weights.folder} holds a model of type {base.config.model_type!r}, which reads no raw waveforms; "
            f"encoder {encoder} expects one such as {', '.join(_MASKED)}"
        )
    preprocessor = base.weights.settings("preprocessor_config.json")
    masked = base.config.model_type in _MASKED and not getattr(base.config, "conv_pos_batch_norm", False)
    return HfAudio(
        base=base,
        normalise=bool(preprocessor.get("do_normalize", True)),
        sample_rate=int(preprocessor.get("sampling_rate", 16000)),
        norm=_mask_first_norm(base.model) if masked and base.config.feat_extract_norm == "group" else None,
        batched=masked,
    )


def _mask_first_norm(model: Any) -> Any:
    from emofuse.extract.encoders.blocks.group_norm import MaskedGroupNorm

    first = model.feature_extractor.conv_layers[0]
    first.layer_norm = MaskedGroupNorm(first.layer_norm)
    return first.layer_norm


def _register(name: str, description: str, source: WeightsSource, model_type: str | None) -> None:
    def of(options: EncoderOptions) -> HfAudio:
        return build(name, source, model_type, options)

    ENCODERS.add(
        name, description, EncoderSpec(modality="audio", feature=name, pretrained=True, tunable=True, build=of)
    )


_LIBRISPEECH = "LibriSpeech 960 h, audio alone"
_LIBRILIGHT = "Libri-Light 60,000 h, audio alone"
_register(
    "hubert",
    "HuBERT base",
    WeightsSource(repository="facebook/hubert-base-ls960", pretrained_on=_LIBRISPEECH),
    "hubert",
)
_register(
    "hubert-large",
    "HuBERT large",
    WeightsSource(repository="facebook/hubert-large-ll60k", pretrained_on=_LIBRILIGHT),
    "hubert",
)
_register(
    "wav2vec2",
    "wav2vec 2.0 base",
    WeightsSource(repository="facebook/wav2vec2-base", pretrained_on=_LIBRISPEECH),
    "wav2vec2",
)
_register("wavlm", "WavLM base", WeightsSource(repository="microsoft/wavlm-base", pretrained_on=_LIBRISPEECH), "wavlm")
_register("hf-audio", "any raw-waveform model; needs --weights", WeightsSource(repository=None, pretrained_on=""), None)
