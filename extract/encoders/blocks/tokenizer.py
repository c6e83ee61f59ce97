"""The tokenizer of a text transformer: windows of tokens, which of them are stored, and the characters of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from emofuse.common.errors import UsageError
from emofuse.extract.audio.torchaudio_compat import import_transformers
from emofuse.extract.encoders.base import Spans
from emofuse.extract.encoders.weights.locate import settings_digest
from emofuse.extract.encoders.weights.messages import first_line

# The files that a tokenizer can be built from, by precedence.
_FILES = (
    "tokenizer.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
    "tokenizer.model",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenWindow:
    """Tokens that are encoded together: a text, or a section of a long text."""

    text: int
    """Index of the text in its batch."""
    tokens: list[int]
    stored: list[int]
    """Positions of the tokens whose frames are stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTokenizer:
    """A fast tokenizer and the rules that make windows of texts."""

    tokenizer: Any
    window: int
    """Maximum number of tokens per window, including special tokens."""
    prefix: str = ""
    """Put before every text; its tokens are encoded, not stored."""

    def windows(self, texts: Sequence[str]) -> list[TokenWindow]:
        """The windows of all texts, in order; every text has at least one stored token."""
        windows: list[TokenWindow] = []
        for number, text in enumerate(texts):
            encoded = self.tokenizer(
                self.prefix + text,
                truncation=True,
                max_length=self.window,
                return_overflowing_tokens=True,
                return_special_tokens_mask=True,
                return_offsets_mapping=True,
            )
            tokens = [list(ids) or [self._filler] for ids in encoded["input_ids"]]
            masks = zip(encoded["special_tokens_mask"], encoded["offset_mapping"], strict=True)
            stored = [[i for i, kept in enumerate(self._kept(*mask)) if kept] for mask in masks]
            if not any(stored):
                stored[0] = [0]
            windows += [TokenWindow(text=number, tokens=t, stored=s) for t, s in zip(tokens, stored, strict=True)]
        return windows

    def length(self, text: str) -> int:
        """Number of stored tokens of a text, at least 1."""
        return sum(len(window.stored) for window in self.windows([text]))

    def spans(self, text: str) -> Spans:
        """The characters of each stored token: windows neither drop nor repeat any."""
        encoded = self.tokenizer(
            self.prefix + text, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False
        )
        offsets, skip = encoded["offset_mapping"], len(self.prefix)
        kept = self._kept(encoded["special_tokens_mask"], offsets)
        spans = [(int(start), int(end)) for (start, end), keep in zip(offsets, kept, strict=True) if keep]
        return [(max(start - skip, 0), max(end - skip, 0)) for start, end in spans] or [(0, 0)]

    def padded(self, windows: Sequence[TokenWindow]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Tokens [windows, T], padded on the right, and their mask: positions then do not depend on the batch."""
        longest = max(len(w.tokens) for w in windows)
        ids = np.full((len(windows), longest), self.tokenizer.pad_token_id or 0, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, window in enumerate(windows):
            ids[row, : len(window.tokens)] = window.tokens
            mask[row, : len(window.tokens)] = 1
        return ids, mask

    def identity(self) -> dict[str, Any]:
        """The rules for special tokens, long texts and the prefix."""
        return {
            "special_tokens": "encoded, not stored; the first one where there is no other token",
            "long_text": f"consecutive windows of {self.window} tokens",
            **({"prefix": f"{self.prefix!r}, encoded, not stored"} if self.prefix else {}),
        }

    def _kept(self, special: Sequence[int], offsets: Sequence[tuple[int, int]]) -> list[bool]:
        """Which tokens are stored: neither special ones nor those of the prefix."""
        skip = len(self.prefix)
        # A token may begin with the space that ends the prefix.
        return [not s and (end > skip or not skip) for s, (_, end) in zip(special, offsets, strict=True)]

    @property
    def _filler(self) -> int:
        """The token of an empty text where the tokenizer adds no special tokens."""
        candidates = (self.tokenizer.eos_token_id, self.tokenizer.pad_token_id, self.tokenizer.unk_token_id, 0)
        return next(int(token) for token in candidates if token is not None)


def read_tokenizer(folder: Path) -> Any:
    """The fast tokenizer of a checkpoint.

    Raises:
        UsageError: The folder has no tokenizer, or a tokenizer that cannot be read without custom code.
    """
    if not _existing(folder):
        raise UsageError(f"{folder} has no tokenizer: expected one of {', '.join(_FILES)}; download the whole folder")
    try:
        tokenizer = import_transformers().AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (ValueError, OSError, ImportError, KeyError) as error:
        raise UsageError(f"the tokenizer in {folder} cannot be read: {first_line(error)}") from None
    if not tokenizer.is_fast:
        raise UsageError(
            f"the tokenizer in {folder} has no tokenizer.json and cannot be converted to one; expected a fast tokenizer"
        )
    return tokenizer


def tokenizer_digest(folder: Path) -> str:
    """xxh3_128 over the files that the tokenizer is built from, and its settings."""
    state = xxhash.xxh3_128()
    for name in _existing(folder):
        state.update((folder / name).read_bytes())
    if (folder / "tokenizer_config.json").is_file():
        state.update(settings_digest(folder, "tokenizer_config.json").encode())
    return state.hexdigest()


def _existing(folder: Path) -> list[str]:
    """The files that the tokenizer is built from; tokenizer.json alone where it exists."""
    existing = [name for name in _FILES if (folder / name).is_file()]
    return existing[:1] if existing[:1] == ["tokenizer.json"] else existing
