"""A speech recogniser of transformers: waveforms in, words out, the same ones whatever stands beside them in a batch.

Two kinds are known by their architecture: models that write (Whisper, Speech2Text, ...), decoded greedily, and models
that label frames (`...ForCTC`), whose best labels are joined.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from emofuse.common.errors import UsageError
from emofuse.extract.corpus.torchaudio_compat import import_transformers
from emofuse.extract.encoders.base import Array
from emofuse.extract.encoders.blocks.pretrained import load_model
from emofuse.extract.encoders.weights.locate import Weights, WeightsSource, resolve

WRITES, LABELS = "AutoModelForSpeechSeq2Seq", "AutoModelForCTC"
SHORTEST = 0.1
"""Seconds."""
BATCH = 8
"""Pieces at once, where every piece has the same length."""
SOURCE = WeightsSource(repository=None, pretrained_on="not stated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recogniser:
    """A recogniser on its device."""

    model: Any
    processor: Any
    weights: Weights
    digest: str
    device: str
    writes: bool
    """Whether it writes words; else it labels frames."""

    @property
    def source(self) -> str:
        """Model, revision and weights, as the manifest keeps them."""
        name = self.weights.repository or self.weights.folder.resolve().name
        revision = f"@{self.weights.revision}" if self.weights.revision else ""
        return f"{name}{revision}, weights {self.digest}"

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return int(self.processor.feature_extractor.sampling_rate)

    @property
    def piece(self) -> int | None:
        """Samples of the pieces that longer clips are cut into, to which shorter ones are filled up; none: any."""
        samples = getattr(self.processor.feature_extractor, "n_samples", None)
        return None if samples is None else int(samples)

    def transcribe(self, waveforms: Sequence[Array]) -> list[str]:
        """The words of each waveform [samples]; empty where none were heard."""
        pieces = [(n, part) for n, waveform in enumerate(waveforms) for part in self._cut(waveform)]
        # Only pieces of one length stand in a batch: no model sees another one's padding.
        step = BATCH if self.piece else 1
        heard = [
            words
            for first in range(0, len(pieces), step)
            for words in self._words([part for _, part in pieces[first : first + step]])
        ]
        joined: list[list[str]] = [[] for _ in waveforms]
        for (n, _), words in zip(pieces, heard, strict=True):
            joined[n].append(words)
        return [" ".join(" ".join(words).split()) for words in joined]

    def _cut(self, waveform: Array) -> list[Array]:
        """The clip in pieces; a very short one is filled up with silence to what any model's front end needs."""
        waveform = np.pad(waveform, (0, max(0, round(SHORTEST * self.sample_rate) - len(waveform))))
        if self.piece is None:
            return [waveform]
        return [waveform[at : at + self.piece] for at in range(0, max(1, len(waveform)), self.piece)]

    def _words(self, pieces: Sequence[Array]) -> list[str]:
        import torch

        inputs = self.processor.feature_extractor(list(pieces), sampling_rate=self.sample_rate, return_tensors="pt")
        inputs = {name: tensor.to(self.device) for name, tensor in inputs.items()}
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.writes:
                ids = self.model.generate(**inputs, do_sample=False, num_beams=1)
            else:
                ids = self.model(**inputs).logits.argmax(-1)
        found: list[str] = self.processor.batch_decode(ids.cpu().numpy(), skip_special_tokens=True)
        return found


def load(given: str, device: str) -> Recogniser:
    """Load a recogniser.

    Args:
        given: A folder, or `ORG/NAME[@revision]` on the hub.

    Raises:
        UsageError: No such weights, or a model that recognises no speech.
        DataError: Damaged weights.
    """
    weights = resolve("--transcribe", given, SOURCE)
    transformers = import_transformers()
    import torch

    heads = weights.settings("config.json").get("architectures") or ["no named head"]
    try:
        config = transformers.AutoConfig.from_pretrained(weights.folder, trust_remote_code=False, local_files_only=True)
    except (ValueError, KeyError, OSError) as error:
        raise UsageError(f"{weights.folder}: transformers {transformers.__version__} cannot read it: {error}") from None
    writes = type(config) in transformers.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING
    labels = type(config) in transformers.MODEL_FOR_CTC_MAPPING and str(heads[0]).endswith("ForCTC")
    if not (writes or labels):
        raise UsageError(
            f"--transcribe {given}: its head is {heads[0]}, which recognises no speech; expected a model such as "
            "openai/whisper-small, or one for CTC such as facebook/wav2vec2-base-960h"
        )
    try:
        processor = transformers.AutoProcessor.from_pretrained(
            weights.folder, trust_remote_code=False, local_files_only=True
        )
        processor.feature_extractor, processor.tokenizer  # noqa: B018
    except (ValueError, KeyError, OSError, AttributeError, TypeError) as error:
        words = str(error).strip().splitlines()[:1]
        raise UsageError(
            f"{weights.folder} lacks what turns sound into its input, or its output into words "
            f"({' '.join(words)}): download the repository whole"
        ) from None
    model = load_model(getattr(transformers, WRITES if writes else LABELS), weights, config, torch.float32)
    return Recogniser(
        model=model.eval().requires_grad_(False).to(device),
        processor=processor,
        weights=weights,
        digest=weights.digest(),
        device=device,
        writes=writes,
    )
