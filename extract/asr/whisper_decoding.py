"""What Whisper needs to decode: language and task as tokens; and how sure it is of its text.

A Whisper that was fine-tuned often has lost, from its generation config, the tokens of its languages and tasks: they
are taken from its tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.extract.asr.doubt import most_tokens

_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")
_TASK, _PLAIN_TEXT = "<|transcribe|>", "<|notimestamps|>"
_MULTILINGUAL_VOCABULARY = 51865
"""Whisper's English-only checkpoints have one token less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """The text of one segment, and what the model says about it."""

    text: str
    language: str | None = None
    """Given or detected; None for a model that takes none."""
    no_speech: float | None = None
    """The probability that nobody speaks."""
    log_probability: float | None = None
    """Of the tokens, their mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhisperDecoding:
    """The special tokens of one Whisper checkpoint."""

    start: int
    end: int
    plain_text: int
    """No time stamps."""
    task: int
    languages: Mapping[str, int]
    """Code -> token; empty for an English-only model."""

    @classmethod
    def of(cls, model: Any, tokenizer: Any) -> WhisperDecoding | None:
        """The tokens of a model, which are also completed in its generation config; None if it is no Whisper."""
        vocabulary: dict[str, int] = tokenizer.get_vocab()
        if model.config.model_type != "whisper" or _TASK not in vocabulary or _PLAIN_TEXT not in vocabulary:
            return None
        settings = model.generation_config
        multilingual = getattr(settings, "is_multilingual", None)
        if multilingual is None:
            multilingual = model.config.vocab_size >= _MULTILINGUAL_VOCABULARY
        languages = {m[1]: number for token, number in vocabulary.items() if (m := _LANGUAGE.fullmatch(token))}
        found = cls(
            start=int(model.config.decoder_start_token_id),
            end=int(tokenizer.eos_token_id),
            plain_text=vocabulary[_PLAIN_TEXT],
            task=vocabulary[_TASK],
            languages=languages if multilingual else {},
        )
        settings.is_multilingual = multilingual
        settings.no_timestamps_token_id = found.plain_text
        settings.forced_decoder_ids = None
        if multilingual:
            settings.lang_to_id = {f"<|{code}|>": number for code, number in languages.items()}
            settings.task_to_id = {"transcribe": found.task, "translate": vocabulary.get("<|translate|>", found.task)}
        return found

    def check(self, language: str, name: str) -> None:
        """Refuse a language that the model does not know.

        Raises:
            UsageError: Names the languages that it knows.
        """
        if not self.languages and language != "en":
            raise UsageError(f"--transcribe {name} knows English alone; the language here is {language!r}")
        if self.languages and language not in self.languages:
            raise UnknownNameError(f"language of --transcribe {name}", language, self.languages)

    def decode(
        self, model: Any, tokenizer: Any, features: Any, languages: Sequence[str | None], seconds: Sequence[float]
    ) -> list[Decoded]:
        """The texts of a batch of segments, decoded greedily.

        Args:
            model: On its device.
            tokenizer: The model's.
            features: Log-Mel features [B, bins, frames].
            languages: Of each segment; None detects it.
            seconds: The length of each segment without its padding: a text that takes more tokens is cut.
        """
        encoded = model.get_encoder()(features)
        codes: list[str | None] = list(languages)
        if self.languages and None in codes:
            by_token = {number: code for code, number in self.languages.items()}
            detected = model.detect_language(encoder_outputs=encoded)
            codes = [code or by_token[int(token)] for code, token in zip(codes, detected, strict=True)]
        told = {"task": "transcribe", "language": codes} if self.languages else {}
        room = model.config.max_target_positions - len(self._prompt(codes[0]))
        most = [min(room, most_tokens(length)) for length in seconds]
        made = model.generate(encoder_outputs=encoded, do_sample=False, num_beams=1, max_new_tokens=max(most), **told)
        decoded = []
        for n, code in enumerate(codes):
            tokens = [token for token in made[n].tolist() if token < self.end][: most[n]]
            no_speech, log_probability = self._sureness(model, encoded[0][n : n + 1], code, tokens)
            text = tokenizer.decode(tokens, skip_special_tokens=True)
            decoded.append(Decoded(text=text, language=code, no_speech=no_speech, log_probability=log_probability))
        return decoded

    def _prompt(self, language: str | None) -> list[int]:
        """What stands before the text."""
        about = [self.languages[str(language)], self.task] if self.languages else []
        return [self.start, *about, self.plain_text]

    def _sureness(self, model: Any, encoded: Any, language: str | None, tokens: list[int]) -> tuple[float, float]:
        """The probability of no speech, and the mean log probability of the tokens, in one pass of the decoder."""
        import torch

        begin, said = self._prompt(language), [*tokens, self.end]
        ids = torch.tensor([begin + said[:-1]], device=encoded.device)
        logits = model(encoder_outputs=(encoded,), decoder_input_ids=ids).logits[0].float().log_softmax(-1)
        of_words = logits[len(begin) - 1 :].gather(1, torch.tensor(said, device=encoded.device)[:, None])
        # The token of no speech stands before that of no time stamps, in every Whisper vocabulary.
        return float(logits[0, self.plain_text - 1].exp()), float(of_words.mean())
