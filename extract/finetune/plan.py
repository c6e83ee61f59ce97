"""A call of `finetune`, resolved and checked, before anything is fine-tuned."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import xxhash

from emofuse.extract.encoders.base import EncoderOptions
from emofuse.extract.finetune.config import FinetuneSettings
from emofuse.manifests.folds.cross_validation import Fold
from emofuse.manifests.protocol import Protocol
from emofuse.manifests.schema import Manifest, Utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetunePlan:
    """What is fine-tuned on what."""

    protocol: Protocol
    manifest: Manifest
    root: Path
    """The corpus folder."""
    corpus_options: tuple[str, ...]
    """The options of `extract` that read the corpus in the same way."""
    encoder: str
    options: EncoderOptions
    fitted_on: tuple[Mapping[str, Any], ...] | None
    """What the initial weights were fitted on, as the user declares it; None: as their card says."""
    settings: FinetuneSettings
    utterances: tuple[Utterance, ...]
    """The utterances of the protocol that the encoder can read."""
    folds: tuple[Fold, ...]
    """The chosen folds."""
    limit: int | None
    """`--limit`: the maximum number of utterances."""
    quiet: bool = False

    def identity(self, encoder: Mapping[str, Any]) -> dict[str, Any]:
        """Everything that determines the weights, JSON-ready; `encoder` is the identity of the initial encoder."""
        return {
            "protocol": self.protocol.name,
            "corpus": self.protocol.corpus,
            "encoder": self.encoder,
            "from": dict(encoder),
            "settings": self.settings.identity(),
            "utterances": len(self.utterances),
            "manifest": replace(self.manifest, utterances=self.utterances).digest(),
            "folds": [f.number for f in self.folds],
            "limit": self.limit,
        }

    def shared_digest(self, encoder: Mapping[str, Any]) -> str:
        """xxh3_64 of the identity without the choice of folds: equal for runs that fit other folds in the same way."""
        shared = {
            key: value
            for key, value in self.identity(encoder).items()
            if key not in ("folds", "utterances", "manifest")
        }
        return xxhash.xxh3_64_hexdigest(json.dumps(shared, sort_keys=True).encode())
