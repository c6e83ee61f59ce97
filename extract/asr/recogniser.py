"""A speech recogniser of transformers: waveforms in, texts out. A text does not depend on its batch.

Two kinds of models work, known by their architecture: sequence-to-sequence models (Whisper, Speech2Text, ...), decoded
greedily, and CTC models (`...ForCTC`), whose best labels are joined. Whisper gets the language, or detects it for
each clip. What a model invents where nobody speaks is not kept.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emofuse.common.errors import UsageError
from emofuse.extract.asr.doubt import doubt
from emofuse.extract.asr.whisper_decoding import Decoded, WhisperDecoding
from emofuse.extract.audio.torchaudio_compat import import_transformers
from emofuse.extract.encoders.base import Array
from emofuse.extract.encoders.blocks.pretrained import load_model
from emofuse.extract.encoders.weights.locate import Weights, WeightsSource, resolve

SEQ2SEQ_CLASS, CTC_CLASS = "AutoModelForSpeechSeq2Seq", "AutoModelForCTC"
SHORTEST_SECONDS = 0.1
"""Shorter clips are padded to this."""
DETECT = "auto"
"""The language that means: detect it."""
DETECTED = ", language detected"
"""At the end of a recogniser's name where it detects the language of each clip."""
BATCH_SIZE = 8
"""Segments of a batch, for models whose segments all have one length."""
SOURCE = WeightsSource(repository=None, pretrained_on="not stated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """What was recognised in one clip."""

    text: str
    """Empty where no words were recognised, or none that are kept."""
    language: str | None = None
    """Code of the language that was detected; None where it was given, or the model knows only one."""
    doubt: str = ""
    """Why recognised words were not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recogniser:
    """A loaded recogniser on its device."""

    model: Any
    processor: Any
    weights: Weights
    digest: str
    """Of the weights."""
    device: str
    generates: bool
    """Whether it is a sequence-to-sequence model; else a CTC model."""
    whisper: WhisperDecoding | None
    """The special tokens of a Whisper, for language and task; None for other models."""
    language: str | None
    """Code of the language that is spoken; None detects it."""

    @property
    def source(self) -> str:
        """Model, revision, digest of the weights and language, as the manifest records them."""
        name = self.weights.repository or self.weights.folder.resolve().name
        revision = f"@{self.weights.revision}" if self.weights.revision else ""
        takes_language = self.whisper is not None and self.whisper.languages
        language = (f", language {self.language}" if self.language else DETECTED) if takes_language else ""
        return f"{name}{revision}, weights {self.digest}{language}"

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return int(self.processor.feature_extractor.sampling_rate)

    @property
    def segment_length(self) -> int | None:
        """Samples of the segments that a clip is cut into, or padded to; None for a model that takes any length."""
        samples = getattr(self.processor.feature_extractor, "n_samples", None)
        return None if samples is None else int(samples)

    def transcribe(self, waveforms: Sequence[Array]) -> list[Recognised]:
        """What is said in each waveform [samples]."""
        segments = [(n, segment) for n, waveform in enumerate(waveforms) for segment in self._segments(waveform)]
        # Only segments of one length share a batch: no model sees padding.
        step = BATCH_SIZE if self.segment_length else 1
        texts: list[list[str]] = [[] for _ in waveforms]
        doubts: list[list[str]] = [[] for _ in waveforms]
        languages: dict[int, str | None] = {}
        for first in range(0, len(segments), step):
            batch = segments[first : first + step]
            told = [languages.get(n, self.language) for n, _ in batch]
            for (n, segment), decoded in zip(batch, self._recognise([s for _, s in batch], told), strict=True):
                languages.setdefault(n, decoded.language)
                why = doubt(decoded.text, len(segment) / self.sample_rate, decoded.no_speech, decoded.log_probability)
                (doubts if why else texts)[n].append(why or decoded.text)
        return [
            Recognised(
                text=" ".join(" ".join(texts[n]).split()),
                language=None if self.language else languages.get(n),
                doubt=", ".join(dict.fromkeys(doubts[n])),
            )
            for n in range(len(waveforms))
        ]

    def _segments(self, waveform: Array) -> list[Array]:
        """The clip in segments; a very short one is padded with silence to what any model's front end needs."""
        missing = max(0, round(SHORTEST_SECONDS * self.sample_rate) - len(waveform))
        waveform = np.pad(waveform, (0, missing))
        if self.segment_length is None:
            return [waveform]
        starts = range(0, max(1, len(waveform)), self.segment_length)
        return [waveform[start : start + self.segment_length] for start in starts]

    def _recognise(self, segments: Sequence[Array], languages: Sequence[str | None]) -> list[Decoded]:
        import torch

        inputs = self.processor.feature_extractor(list(segments), sampling_rate=self.sample_rate, return_tensors="pt")
        inputs = {name: tensor.to(self.device) for name, tensor in inputs.items()}
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.whisper:
                tokenizer = self.processor.tokenizer
                seconds = [len(segment) / self.sample_rate for segment in segments]
                return self.whisper.decode(self.model, tokenizer, inputs["input_features"], languages, seconds)
            if self.generates:
                ids = self.model.generate(**inputs, do_sample=False, num_beams=1)
            else:
                ids = self.model(**inputs).logits.argmax(-1)
        texts = self.processor.batch_decode(ids.cpu().numpy(), skip_special_tokens=True)
        return [Decoded(text=text) for text in texts]


def load_recogniser(
    name: str, device: str, language: str | None = None, usual_language: str | None = None
) -> Recogniser:
    """Load a recogniser.

    Args:
        name: A folder, or `ORG/NAME[@revision]` on the hub.
        device: Where it computes.
        language: What the user says is spoken: a code such as `de`, or `auto` to detect it for each clip; None takes
            `usual_language`.
        usual_language: That of the corpus; None where it is unknown.

    Raises:
        UsageError: No such weights, a model that is not a speech recogniser, or a language that it does not know.
        DataError: Damaged weights.
    """
    weights = resolve("--transcribe", name, SOURCE)
    transformers = import_transformers()
    import torch

    head = (weights.settings("config.json").get("architectures") or ["no named head"])[0]
    try:
        config = transformers.AutoConfig.from_pretrained(weights.folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, KeyError, OSError) as error:
        raise UsageError(f"{weights.folder}: transformers {transformers.__version__} cannot read it: {error}") from None
    generates = type(config) in transformers.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING
    is_ctc = type(config) in transformers.MODEL_FOR_CTC_MAPPING and str(head).endswith("ForCTC")
    if not (generates or is_ctc):
        raise UsageError(
            f"--transcribe {name}: its head is {head}, which does not recognise speech; expected a model such as "
            "openai/whisper-small, or one for CTC such as facebook/wav2vec2-base-960h"
        )
    processor = _load_processor(weights)
    model_class = getattr(transformers, SEQ2SEQ_CLASS if generates else CTC_CLASS)
    model = load_model(model_class, weights, config, torch.float32)
    whisper = WhisperDecoding.of(model, processor.tokenizer) if generates else None
    return Recogniser(
        model=model.eval().requires_grad_(False).to(device),
        processor=processor,
        weights=weights,
        digest=weights.digest(),
        device=device,
        generates=generates,
        whisper=whisper,
        language=_spoken(name, whisper, language, usual_language),
    )


def _spoken(name: str, whisper: WhisperDecoding | None, language: str | None, usual: str | None) -> str | None:
    """The language to tell the model; None where it is to be detected, or the model takes none."""
    if whisper is None:
        if language not in (None, DETECT):
            raise UsageError(
                f"--language {language} has no effect: --transcribe {name} takes no language; leave it out"
            )
        return None
    spoken = language or usual
    if spoken in (None, DETECT):
        return None
    whisper.check(spoken, name)
    return spoken


def _load_processor(weights: Weights) -> Any:
    """The feature extractor and the tokenizer of a checkpoint."""
    transformers = import_transformers()
    try:
        processor = transformers.AutoProcessor.from_pretrained(
            weights.folder, trust_remote_code=False, local_files_only=True
        )
        processor.feature_extractor, processor.tokenizer  # noqa: B018
    except (ValueError, KeyError, OSError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).strip().splitlines()[:1])
        raise UsageError(
            f"{weights.folder} has no feature extractor or no tokenizer ({reason}): download the repository whole"
        ) from None
    return processor
