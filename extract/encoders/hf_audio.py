"""Speech transformers that read raw waveforms: HuBERT, wav2vec 2.0, WavLM, data2vec and similar models on the hub.

Waveforms are normalised as the checkpoint's preprocessor_config.json says: to zero mean and unit variance over the
samples of the utterance, or not at all. The number of frames follows from the kernel sizes and strides of the
convolutions. A clip shorter than the receptive field of one frame (25 ms) is zero-padded to it.

HuBERT, wav2vec 2.0 (XLS-R too), WavLM and UniSpeech-SAT run in padded batches with an attention mask; transformers
zeroes the padding before the positional convolution, and a first convolution that is normalised over time gets a masked
norm (`blocks/group_norm.py`). In data2vec the padding passes through five positional convolutions, and other models may
let it change the features in other ways, so their batches contain utterances of one length.

Papers: Hsu et al. 2021, https://arxiv.org/abs/2106.07447; Baevski et al. 2020, https://arxiv.org/abs/2006.11477;
Babu et al. 2021 (XLS-R), https://arxiv.org/abs/2111.09296; Chen et al. 2022 (WavLM), https://arxiv.org/abs/2110.13900;
Chen et al. 2021 (UniSpeech-SAT), https://arxiv.org/abs/2110.05752; Baevski et al. 2022 (data2vec),
https://arxiv.org/abs/2202.03555
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from emofuse.common.errors import UsageError
from emofuse.extract.encoders.base import ENCODERS, Array, EncoderOptions, EncoderSpec, Modality
from emofuse.extract.encoders.blocks.pretrained import load
from emofuse.extract.encoders.blocks.transformer_encoder import HubTransformer
from emofuse.extract.encoders.blocks.tuning import Tuning, tune_transformer
from emofuse.extract.encoders.weights.locate import SEE_PAGE, WeightsSource

if TYPE_CHECKING:
    import torch


_MASKED = ("hubert", "wav2vec2", "wavlm", "unispeech-sat")
"""Model types that can run in padded batches."""
_VARIANCE_FLOOR = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class HfAudio(HubTransformer):
    """A speech transformer with a convolutional front end."""

    normalise: bool
    """Whether waveforms are brought to zero mean and unit variance."""
    sample_rate: int
    """Hz."""
    first_norm: Any
    """The `MaskedGroupNorm` of the first convolution; None where that is not normalised over time."""
    batched: bool
    """Whether utterances of different lengths may share a batch."""

    @property
    def modality(self) -> Modality:
        """Waveforms."""
        return "audio"

    @property
    def frame_rate(self) -> float:
        """Frames per second; 50 for the models registered here."""
        return self.sample_rate / float(math.prod(self.pretrained.config.conv_stride))

    def identity(self) -> dict[str, Any]:
        """Weights, settings, layers, precision and the normalisation of waveforms."""
        return {
            "encoder": "hf_audio",
            "version": 1,
            **self.pretrained.identity(),
            "sample_rate": self.sample_rate,
            "normalise": "zero mean, unit variance" if self.normalise else "none",
            "short_clips": "zeros up to one frame",
        }

    def length(self, item: int | str) -> int:
        """Number of frames of a waveform of `item` samples."""
        return self._frames(self._padded_length(cast(int, item)), len(self.pretrained.config.conv_kernel))

    def encode(self, items: Sequence[Array] | Sequence[str]) -> list[Array]:
        """One array [T_i, D] or [T_i, L, D] per waveform [samples at `sample_rate`, -1..1]."""
        return self.begin(items)()

    def begin(self, items: Sequence[Array] | Sequence[str]) -> Callable[[], list[Array]]:
        """Start to encode waveforms; the returned function waits for the result of `encode`."""
        waveforms = [self._prepare(cast(Array, item)) for item in items]
        if self.batched:
            return self._begin_padded(waveforms)
        lengths = {len(w) for w in waveforms}
        groups = [[i for i, w in enumerate(waveforms) if len(w) == length] for length in lengths]
        started = [(indices, self._begin_padded([waveforms[i] for i in indices])) for indices in groups]

        def finish() -> list[Array]:
            frames = {i: v for indices, fetch in started for i, v in zip(indices, fetch(), strict=True)}
            return [frames[i] for i in range(len(waveforms))]

        return finish

    def tuning(self) -> Tuning:
        """The model as `finetune` fits it."""
        return tune_transformer(self.pretrained, self._pooled, "front end")

    def _pooled(self, items: Sequence[Array] | Sequence[str]) -> torch.Tensor:
        """The mean [B, D] over the frames of each waveform."""
        import torch

        model = self.pretrained.model
        waveforms = [self._prepare(cast(Array, item)) for item in items]
        if not self.batched:
            return torch.cat([model(**self._inputs([w])).last_hidden_state.float().mean(1) for w in waveforms])
        hidden = model(**self._inputs(waveforms)).last_hidden_state.float()
        counts = self.pretrained.tensor(np.array([self.length(len(w)) for w in waveforms]))[:, None]
        valid = torch.arange(hidden.shape[1], device=hidden.device) < counts
        pooled: torch.Tensor = (hidden * valid[:, :, None]).sum(1) / counts
        return pooled

    def _prepare(self, waveform: Array) -> Array:
        if self.normalise:
            mean, variance = waveform.mean(dtype=np.float64), waveform.var(dtype=np.float64)
            waveform = ((waveform - mean) / np.sqrt(variance + _VARIANCE_FLOOR)).astype(np.float32)
        return np.pad(waveform, (0, self._padded_length(len(waveform)) - len(waveform)))

    def _begin_padded(self, waveforms: list[Array]) -> Callable[[], list[Array]]:
        if not waveforms:
            return list
        fetch = self.pretrained.start(**self._inputs(waveforms))
        counts = [self.length(len(w)) for w in waveforms]
        return lambda: [row[:count] for row, count in zip(fetch(), counts, strict=True)]

    def _inputs(self, waveforms: list[Array]) -> dict[str, torch.Tensor]:
        """Padded waveforms [B, samples] and their mask, on the device."""
        lengths = [len(w) for w in waveforms]
        padded = np.zeros((len(waveforms), max(lengths)), dtype=np.float32)
        for row, waveform in zip(padded, waveforms, strict=True):
            row[: len(waveform)] = waveform
        mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
        tensor = self.pretrained.tensor
        if self.first_norm is not None:
            self.first_norm.lengths = tensor(np.array([self._frames(n, 1) for n in lengths]))
        return {"input_values": tensor(padded), "attention_mask": tensor(mask.astype(np.int64))}

    def _padded_length(self, samples: int) -> int:
        """Samples after zero-padding to the receptive field of one frame."""
        config = self.pretrained.config
        field = 1
        for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
            field = (field - 1) * stride + kernel
        return max(samples, field)

    def _frames(self, samples: int, convolutions: int) -> int:
        """Frames after the first `convolutions` convolutions."""
        config = self.pretrained.config
        for kernel, stride in list(zip(config.conv_kernel, config.conv_stride, strict=True))[:convolutions]:
            samples = (samples - kernel) // stride + 1
        return samples


def build(encoder: str, source: WeightsSource, model_type: str | None, options: EncoderOptions) -> HfAudio:
    """Load a checkpoint as a speech encoder.

    Raises:
        UsageError: The model does not read raw waveforms, or its preprocessor_config.json is missing.
    """
    pretrained = load(encoder, source, options, model_type, "AutoModel")
    config = pretrained.config
    if not hasattr(config, "conv_kernel") or not hasattr(config, "conv_stride"):
        raise UsageError(
            f"{pretrained.weights.folder} holds a model of type {config.model_type!r}, which reads no raw waveforms; "
            f"encoder {encoder} expects a model such as {', '.join(_MASKED)}"
        )
    preprocessor = pretrained.weights.settings("preprocessor_config.json")
    masked = config.model_type in _MASKED and not getattr(config, "conv_pos_batch_norm", False)
    return HfAudio(
        pretrained=pretrained,
        normalise=bool(preprocessor.get("do_normalize", True)),
        sample_rate=int(preprocessor.get("sampling_rate", 16000)),
        first_norm=_mask_first_norm(pretrained.model) if masked and config.feat_extract_norm == "group" else None,
        batched=masked,
    )


def _mask_first_norm(model: Any) -> Any:
    from emofuse.extract.encoders.blocks.group_norm import MaskedGroupNorm

    first = model.feature_extractor.conv_layers[0]
    first.layer_norm = MaskedGroupNorm(first.layer_norm)
    return first.layer_norm


def _register(name: str, description: str, source: WeightsSource, model_type: str | None) -> None:
    def build_with(options: EncoderOptions) -> HfAudio:
        return build(name, source, model_type, options)

    ENCODERS.add(
        name,
        description,
        EncoderSpec(modality="audio", feature=name, pretrained=True, tunable=True, build=build_with, source=source),
    )


_LIBRISPEECH = "LibriSpeech 960 h, audio alone"
_LIBRILIGHT = "Libri-Light 60,000 h, audio alone"
_MIX_94K = "Libri-Light, GigaSpeech and VoxPopuli 94,000 h, audio alone"
_XLS_R = "VoxPopuli, MLS, CommonVoice, VoxLingua107 and BABEL, 436,000 h in 128 languages, audio alone"
for _name, _description, _repository, _data, _type, _megabytes in (
    ("hubert", "HuBERT base", "facebook/hubert-base-ls960", _LIBRISPEECH, "hubert", 378),
    ("hubert-large", "HuBERT large", "facebook/hubert-large-ll60k", _LIBRILIGHT, "hubert", 1262),
    ("wav2vec2", "wav2vec 2.0 base", "facebook/wav2vec2-base", _LIBRISPEECH, "wav2vec2", 380),
    ("xlsr", "XLS-R 300M, 128 languages", "facebook/wav2vec2-xls-r-300m", _XLS_R, "wav2vec2", 1270),
    ("wavlm", "WavLM base", "microsoft/wavlm-base", _LIBRISPEECH, "wavlm", 378),
    ("wavlm-large", "WavLM large", "microsoft/wavlm-large", _MIX_94K, "wavlm", 1262),
    ("unispeech-sat", "UniSpeech-SAT base+", "microsoft/unispeech-sat-base-plus", _MIX_94K, "unispeech-sat", 378),
    ("data2vec-audio", "data2vec base for audio", "facebook/data2vec-audio-base", _LIBRISPEECH, "data2vec-audio", 373),
):
    # The pages of Microsoft's models name no licence, but a file of the UniSpeech repository.
    _licence = SEE_PAGE if _repository.startswith("microsoft/") else "Apache-2.0"
    _source = WeightsSource(repository=_repository, pretrained_on=_data, licence=_licence, megabytes=_megabytes)
    _register(_name, _description, _source, _type)
_register("hf-audio", "any raw-waveform model; needs --weights", WeightsSource(repository=None, pretrained_on=""), None)
