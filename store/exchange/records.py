"""The records that exchange formats, import and export share: a format, an opened source, an export job."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.optional import optional_library as library_of_extra
from emofuse.common.output.progress import Progress
from emofuse.manifests.schema import Utterance
from emofuse.store import Feature
from emofuse.store.exchange.feature_metadata import FeatureMetadata, ManifestOrigin

NUMERIC_KINDS = "fiu"
"""The `dtype.kind` of numbers: float, signed and unsigned integer."""
BLOCK_BYTES = 32 << 20
"""Bytes of frames that an export reads at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """Placeholder for an array that cannot be imported."""

    reason: str
    damaged: bool = False
    """Whether the source itself is damaged (exit code 3), rather than used wrongly (2)."""


FrameStream = Iterator[tuple[str, NDArray[Any] | Unusable]]
"""Utterance id and frames [T, D] or [T, L, D], or one vector [D]; in the source's order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRequest:
    """Which feature of a source to read, and how."""

    name: str
    """The feature's name in the store."""
    modality: str
    keep_padding: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignSource:
    """An opened source: its ids are known, its values are read on demand."""

    ids: Sequence[str]
    """Every id; an id that is in the source twice is listed twice."""
    read: Callable[[], FrameStream]
    """Reads everything; called twice: once to check all values, then to write them."""
    metadata: FeatureMetadata = field(default_factory=FeatureMetadata)
    """What emofuse wrote beside the values when it exported them."""
    utterances: Sequence[Utterance] | None = None
    """The utterances as the source describes them; None if it only has ids."""
    origin: ManifestOrigin | None = None
    """The manifest that the utterances came from, where the source records it."""
    has_lengths: bool = False
    """The source states the length of each utterance, so zeros at an end are values, not padding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJob:
    """What a format writes."""

    origin: ManifestOrigin
    features: tuple[Feature, ...]
    utterances: tuple[Utterance, ...]
    """Those that have every feature, in the manifest's order."""
    splits: Mapping[str, str]
    """Utterance id -> train, valid or test; empty for formats without splits."""
    metadata: Mapping[str, Any]
    """The `metadata_record` to write beside the values."""
    progress: Progress

    def lengths(self, feature: Feature) -> list[int]:
        """Frames of each utterance."""
        return [int(feature.lengths[feature.position[u.id]]) for u in self.utterances]

    def read(self, feature: Feature) -> Iterator[tuple[Utterance, NDArray[Any]]]:
        """Each utterance with its frames, [T, D] or [T, L, D], float16 or float32; one block at a time."""
        for block in self.blocks():
            yield from self.read_block(feature, block)

    def blocks(self) -> Iterator[list[Utterance]]:
        """The utterances in blocks, each of about `BLOCK_BYTES` of frames."""
        block: list[Utterance] = []
        size = 0
        counts = zip(*(self.lengths(f) for f in self.features), strict=True)
        for u, frames in zip(self.utterances, counts, strict=True):
            cost = sum(n * f.spec.frame_bytes for n, f in zip(frames, self.features, strict=True))
            if block and size + cost > BLOCK_BYTES:
                yield block
                block, size = [], 0
            block.append(u)
            size += cost
        if block:
            yield block

    def read_block(self, feature: Feature, block: Sequence[Utterance]) -> Iterator[tuple[Utterance, NDArray[Any]]]:
        """The utterances of one block with their frames, verified against their checksums.

        Raises:
            DataError: Damaged utterances.
        """
        ragged = feature.read([u.id for u in block])
        ends = np.cumsum(ragged.lengths)
        for u, end, frames in zip(block, ends.tolist(), ragged.lengths.tolist(), strict=True):
            yield u, ragged.values[end - frames : end]
            self.progress.advance()


def plain_id(corpus: str, id: str) -> str:
    """The id itself, for formats that use ids unchanged."""
    return id


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One exchange format: how to read it, and how to write it."""

    open: Callable[[Path, FeatureRequest], ForeignSource]
    write: Callable[[ExportJob, Path], None] | None = None
    """Writes into a new folder, or to a new file; None if the format is read-only."""
    writes_folder: bool = True
    """Whether it writes a folder rather than a file."""
    takes_layers: bool = False
    """Whether frames may have a layer axis."""
    several_features: bool = False
    """Whether one export may hold several features."""
    needs_splits: bool = False
    """Whether the utterances are divided into train, valid and test."""
    id_key: Callable[[str, str], str] = plain_id
    """(corpus, id) -> the id in this format."""


def optional_library(name: str) -> ModuleType:
    """Import an optional library.

    Raises:
        UsageError: It is not installed; says what to install.
    """
    return library_of_extra(name, "exchange", "this format")
